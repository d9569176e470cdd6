import { secondMs, KiB, MiB } from "./units.ts";

/**
 * Every bound in one place, each with its reason. A limit is checked before what it bounds is allocated, and each has a test
 * at its value and one beyond.
 */

/** One record's key, value and headers together. Kafka's and NATS' default; larger things belong in an object store. */
export const recordMaxBytes = 1 * MiB;

/** One record batch as packed. A batch is held in memory whole at each step, and is the unit that one bad bit loses. */
export const batchMaxBytes = 4 * MiB;

/** What a compressed batch may inflate to: bounds a decompression bomb to a few times the largest honest batch. */
export const batchInflatedMaxBytes = 16 * MiB;

/** Records in a batch. `lastOffsetDelta` is 31 bits; far below it, a batch of tiny records would stall the loop while walked. */
export const batchMaxRecords = 1_000_000;

/** Blocks that the compressed records of a batch may come in. An honest one has 256 of 64 KiB; tiny ones cost a call each. */
export const batchBlocksMaxCount = 16_384;

/** Headers of a record. Each costs an object on decode. */
export const recordMaxHeaders = 1024;

/** Headers of all records of a batch: 16 MiB can inflate to eight million of two bytes each, and those decode to over a gigabyte. */
export const batchMaxHeaders = 1_000_000;

/** Appends that wait for their turn, in bytes. Past it an append is refused with APPEND_QUEUE_FULL, never buffered. */
export const appendQueueMaxBytes = 64 * MiB;

/** Appends that wait for their turn. Each holds a promise and some 300 bytes, whatever its size. */
export const appendQueueMaxCount = 1_000_000;

/**
 * Truncations, trims, syncs and the like that wait for their turn. Each has the log to itself, so nobody has a reason to let
 * thousands gather; whoever doesn't wait for them is stopped before they are many megabytes.
 */
export const operationQueueMaxCount = 10_000;

/**
 * Waits for an offset of one log, tails at its end among them, some 1 KiB each: above what all connections of a node can have
 * under way (`connectionsMaxCount` times `pipelinedRequestsMaxCount`).
 */
export const offsetWaitsMaxCount = 10_000;

/** Bytes of one group of appends written and synced together: bounds what one sync can take, and so the tail latency. */
export const groupMaxBytes = 8 * MiB;

/** Bytes handed to one vectored write: 1 MiB costs some 0.3 ms, which is as long as the loop may stand still. */
export const writePieceMaxBytes = 1 * MiB;

/** Buffers in one vectored write: IOV_MAX on Linux. */
export const writePieceMaxBuffers = 1024;

/** What one read of a store asks for. Larger reads add nothing on loopback or a cached file. */
export const readPieceBytes = 1 * MiB;

/**
 * What the first read of a reader asks for: one that wants little isn't made to read much. Each further one asks for four times
 * as much, up to `readPieceBytes`.
 */
export const readFirstPieceBytes = 64 * KiB;

/** A read of one entry asks for so much at first: most batches of single records fit, and a larger one costs a second read. */
export const readEntryBytes = 16 * KiB;

/** Store files kept open for reading, over all logs of a process. Leaves most of a limit of 1,024 descriptors to sockets. */
export const openFilesMaxCount = 256;

/** The table of keys of a compaction, unless configured: some four million keys a pass; of more, several passes are made. */
export const compactionMapMaxBytes = 128 * MiB;

/** What compaction reads, filters and writes before it gives others a turn: 1 to 2 ms of small records. */
export const compactionPieceBytes = 256 * KiB;

/** Segments merged into one at a time: what is named in the note about it, which is held in memory. */
export const segmentsMergedMaxCount = 1_000;

/** Largest offset, index or timestamp taken from outside: a safe integer. */
export const integerMax = Number.MAX_SAFE_INTEGER;

/** Zeros written ahead of a store's end: grows from the first to the second while groups are small. */
export const zeroAheadMinBytes = 64 * KiB;
export const zeroAheadMaxBytes = 8 * MiB;

/** Room for a segment header and a frame or two: below it a log would be nothing but files. */
export const segmentMinBytes = 1 * KiB;

/** Bytes by which a mapped index grows: as much as it has, within these. */
export const indexMapStepMinBytes = 64 * KiB;
export const indexMapStepMaxBytes = 1 * MiB;

/** One entry, as the format allows it: leaves room above `batchMaxBytes`, and bounds what a damaged length can ask for. */
export const entryMaxBytes = 32 * MiB;

/** Payload of a control entry: a membership of many nodes fits many times over. */
export const entryControlMaxBytes = 1 * MiB;

/** Damages that a log remembers, and that one scrub returns. Each is some 300 bytes; whoever has more needs `verify`. */
export const damagesMaxCount = 10_000;

/** Damages that a scrub names of one segment: behind each the next whole frame is searched, and a store that bad is lost anyway. */
export const segmentDamagesMaxCount = 100;

/**
 * A control entry up to this is checked wherever one seems to begin when frames are searched for among bad bytes: no-op, trim and
 * the membership of a few nodes are no larger. Of larger ones, no more than what was searched is checked in sum.
 */
export const searchedHeadMaxBytes = 256;

/** A head that lies across two pieces of a search is found as long as it is no longer than this. */
export const searchOverlapBytes = 64 * KiB;

/** A base record: some 100 bytes for each live producer, so 500,000 of them. */
/** Producers that a log knows at once; of more, the one that has been idle the longest is forgotten. Each takes some 700 bytes. */
export const producersMaxCount = 10_000;

/** A base record: at most 136 bytes for each of `producersMaxCount` producers, and 24 for each term. */
export const baseRecordMaxBytes = 64 * MiB;

/** A manifest: some 200 bytes for each partition, so hundreds of times `partitionsMaxCount`. */
export const manifestMaxBytes = 64 * MiB;

/** A topic's name: Kafka's limit, and short enough for a file's name. */
export const topicNameMaxChars = 249;

/** Partitions of a node, over all topics. Each keeps a few descriptors and some hundred KiB; a flood of made-up topic names ends here. */
export const partitionsMaxCount = 10_000;

/**
 * Files that an open log holds: store, index and sync mark. A node takes no more partitions than its process may have files open for,
 * less a reserve: out of descriptors, a log that rolls is poisoned, and nobody can connect.
 */
export const partitionFilesCount = 3;

/** Logs opened or made at once at start: enough to keep a disk busy, few enough that recoveries don't fight for it. */
export const logOpensMaxCount = 4;

/** Directories that no manifest names, listed by name in the status; of more, only their number. */
export const orphansMaxCount = 100;

/** Connections of a node, unless configured. With the files of the logs it fits under a limit of 1,024 descriptors. */
export const connectionsMaxCount = 512;

/** Connections from peers, kept free beside those of clients: two of each of 30 nodes. The oldest that hasn't said who it is makes room. */
export const peerConnectionsMaxCount = 64;

/** Descriptors left to read files, connections and the rest, when partitions are counted against the process's limit. */
export const reservedFilesCount = openFilesMaxCount + connectionsMaxCount + peerConnectionsMaxCount + 64;

/** Requests that one connection may have waiting one behind the other (pipelining). Each could be a long poll. */
export const pipelinedRequestsMaxCount = 16;

/** How long a new connection may take until its first bytes tell what it speaks, and a request until its head is complete. */
export const headersMaxMs = 5_000;

/** Bytes of a request's head. */
export const headersMaxBytes = 16 * KiB;

/** How long a whole request may take to arrive, its body included. An NDJSON body may take longer: see `uploadIdleMaxMs`. */
export const requestMaxMs = 30_000;

/** How long a connection may wait for its next request. */
export const keepAliveMaxMs = 60_000;

/** A request's body, unless configured: two batches of the largest kind. */
export const bodyMaxBytes = 8 * MiB;

/** Bodies of all requests under way together. Past it a request is refused with OVERLOADED, never buffered. */
export const bodiesMaxBytes = 128 * MiB;

/** Answers that clients haven't taken yet, together. Past it a read is refused with OVERLOADED. */
export const answersMaxBytes = 128 * MiB;

/** Bytes of records that one append over HTTP packs into a batch; an NDJSON body of more is appended as several. */
export const lineBatchBytes = 1 * MiB;

/** Records of one such batch: bounds what lines of a few bytes each take as objects, and so how long one of them waits for its answer. */
export const lineBatchMaxCount = 10_000;

/**
 * One line of NDJSON: a record of the largest size in Base64, or with each character beyond ASCII escaped as Python does it, fits with
 * room to spare. It is held while it comes, whatever it turns out to be.
 */
export const lineMaxBytes = 4 * MiB;

/** What a line takes in memory beside its bytes, about: the record that it becomes. Counted, so that a million of `{"value":""}` aren't small. */
export const lineOverheadBytes = 128;

/** How long an NDJSON body may say nothing, not even an empty line. Long for a quiet source; short for a client that is gone without a word. */
export const uploadIdleMaxMs = 300_000;

/** How long what is left of an NDJSON body is read and dropped after an error: a client that reads its answer has stopped by then. */
export const uploadRestMaxMs = 5_000;

/** Answer lines of an NDJSON body that its client hasn't read, some 3,000; then no more of the body is read. */
export const uploadAnswerMaxBytes = 256 * KiB;

/** Live tails of a node. With `tailUnsentMaxBytes` each, stuck ones hold 512 MiB together; `connectionsMaxCount` is usually met before. */
export const tailsMaxCount = 2_048;

/** Bytes handed to a tail's connection that aren't sent yet. Past it nothing is read for it until all are; one record may go beyond. */
export const tailUnsentMaxBytes = 256 * KiB;

/** Partitions that one tail may merge. The id of each of its events names a position in every one. */
export const tailPartitionsMaxCount = 64;

/** How often a tail says that it is there: below the 30 s after which some proxies end a silent answer. */
export const tailHeartbeatMs = 15_000;

/** Records of one answer over HTTP: unless asked for, and at most. Each is an object and a line of text. */
export const consumeRecordsDefault = 1_000;
export const consumeRecordsMaxCount = 10_000;

/** Bytes of records, unpacked, in one answer over HTTP: unless asked for, and at most. The text can be several times larger. */
export const consumeBytesDefault = 1 * MiB;
export const consumeMaxBytes = 8 * MiB;

/** What each record and each header counts for beside its bytes in a bound of a read: about its object, and what names its fields. */
export const recordOverheadBytes = 16;

/** Bytes that a read unpacks before it lets others have their turn: a few tenths of a millisecond. */
export const readTurnBytes = 256 * KiB;

/** How long a read over HTTP may wait for a first record: below the 60 s at which proxies give up. */
export const consumeWaitMaxMs = 55_000;

/** One gRPC message: a batch of the largest kind and what a request says beside it. Held against the length before a byte of it is kept. */
export const grpcMessageMaxBytes = batchMaxBytes + 64 * KiB;

/** Receive window of a stream and of a connection, at both ends. At HTTP/2's 64 KiB a stream stays at a fifth of what it can do. */
export const grpcWindowBytes = 1 * MiB;

/** Calls of one connection at a time. Each may hold a window and a message. */
export const grpcStreamsMaxCount = 128;

/** Headers of a call, and their bytes as HTTP/2 counts them. Said in SETTINGS; what passes it ends the stream or the connection. */
export const grpcHeaderPairsMaxCount = 64;
export const grpcHeaderListMaxBytes = headersMaxBytes;

/** Metadata that a call sends: leaves room beside it for what gRPC itself puts into the headers. */
export const grpcMetadataMaxCount = 40;
export const grpcMetadataMaxBytes = 8 * KiB;

/** A status' message, percent-encoded: readable in full, and far from filling the trailers. */
export const grpcStatusMessageMaxBytes = 2 * KiB;

/** A status' details: a `google.rpc.Status` of a few messages. Beyond it they are left out, lest the client refuses the trailers. */
export const grpcStatusDetailsMaxBytes = 4 * KiB;

/** What node:http2 may hold for a session besides what is received, in its unit of MB. Its own default; past it new streams are refused. */
export const grpcSessionMemoryMaxMb = 10;

/** Frames that the other end may send wrong before the connection ends, and streams that may be refused. */
export const grpcInvalidFramesMaxCount = 10;
export const grpcRejectedStreamsMaxCount = 10;

/** A message that comes in pieces is gathered in a buffer of this size first: a length of megabytes may be a lie. */
export const grpcAssemblyStartBytes = 64 * KiB;

/**
 * … or of so many times what arrived of it, up to this: one frame of HTTP/2, 16 KiB, makes room for a batch of the usual size, which
 * else outgrows two buffers, and they are garbage outside of V8's heap.
 */
export const grpcAssemblyFastGrowth = 32;
export const grpcAssemblyFastBytes = 320 * KiB;

/** Messages that inflate to at most this are inflated on the loop: 0.1 ms. Larger ones go to the thread pool. */
export const grpcInflateAtOnceMaxBytes = 64 * KiB;

/** Messages of a call that wait for their reader. Past it the stream's window isn't given back, so the sender stops. */
export const grpcReceiveQueueBytes = 256 * KiB;

/** What all calls of a server have received and nobody has taken. Past it a call ends with RESOURCE_EXHAUSTED, the largest first. */
export const grpcHeldMaxBytes = 256 * MiB;

/** Messages of a call that wait to be sent before `send` asks its caller to wait: what a stuck client costs, with one message more. */
export const grpcSendQueueBytes = 256 * KiB;

/** The same for callers that don't wait: past it `send` refuses. */
export const grpcSendHeldMaxBytes = 4 * MiB;

/** Messages up to this are copied together into one write: a write of its own costs what copying some KiB does. */
export const grpcSmallMessageMaxBytes = 4 * KiB;

/** What is gathered in a turn of the loop before it is written at once. */
export const grpcGatherMaxBytes = 64 * KiB;

/** Grain of deadlines: all that fall into the same tick share one timer. */
export const grpcDeadlineTickMs = 10;

/** How often a server looks after its connections and calls: one timer for all that is slow. */
export const grpcSweepMs = 1_000;

/** How long an ended connection may take to get its last bytes out; then it is dropped. */
export const grpcCloseMaxMs = 1_000;

/** How long a client may take nothing of what waits for it before its call is reset. */
export const grpcStallMaxMs = 30_000;

/** How long the one request of a call may take to arrive. */
export const grpcRequestMaxMs = requestMaxMs;

/** A connection without a call is closed after this; its client connects again when it has one. */
export const grpcIdleMaxMs = 5 * 60_000;

/** A connection of this age is asked to go, and its calls may end in peace: else none would ever come back to a node that restarted. */
export const grpcConnectionAgeMaxMs = 60 * 60_000;

/** Pings that find out whether the other end is there: how often, and how long one may stay unanswered. */
export const grpcKeepaliveMs = 30_000;
export const grpcKeepaliveTimeoutMs = 10_000;

/** Pings that a client may send at once and then a second; messages earn it more, since honest clients measure by pings while data flows. */
export const grpcPingsBurst = 64;
export const grpcPingsPerSecond = 4;

/** SETTINGS that a client may send at once and then a second: an honest one sends one. */
export const grpcSettingsBurst = 16;
export const grpcSettingsPerSecond = 1;

/** Calls that a client may cancel at once and then a second: all it can have open, twice; more is a flood of resets (CVE-2023-44487). */
export const grpcResetsBurst = 2 * grpcStreamsMaxCount;
export const grpcResetsPerSecond = 32;

/** Calls of a client's channel at a time, those that wait for a connection included. Each holds a promise and its message. */
export const grpcClientCallsMaxCount = 10_000;

/** How long a client tries to connect, and how long it waits between two tries: from the first to the last, by a factor, and a fifth by chance. */
export const grpcConnectMaxMs = 10_000;

/** Of that, how long a server that is reached may take for the TLS handshake: as long as ours gives its clients. */
export const grpcHandshakeMaxMs = 5_000;
export const grpcBackoffStartMs = 100;
export const grpcBackoffMaxMs = 5_000;
export const grpcBackoffFactor = 1.6;
export const grpcBackoffJitter = 0.2;

/**
 * Receive window of a client's stream. With what waits in its queue and an answer that comes in pieces, a reader that stands still
 * costs some 1 MiB for each partition, beside the batch it is at; a window of 1 MiB made it 1.6, and catching up an eighth faster.
 */
export const clientWindowBytes = 384 * KiB;

/** Nodes that a client has connections to at once: far more than a cluster has, and an end to those of addresses that are no more. */
export const clientTransportsMaxCount = 64;

/** How long a client waits for the answer to a call that reads or changes topics: a topic of thousands of partitions takes seconds to make. */
export const clientCallMaxMs = 30 * secondMs;

/** How long the command line waits for a record to be acknowledged. */
export const cliAnswerMaxMs = 30 * secondMs;

/** What the command line may have sent that isn't acknowledged: enough to keep a server busy, and little enough to be in doubt about. */
export const cliPendingMaxBytes = 4 * MiB;

/** Bytes of records that the command line packs together: a pipe is fast, and each batch costs its server a sync. */
export const cliBatchBytes = 1 * MiB;

/** What a record under way takes beside its bytes, about: counted, so that a million of empty lines aren't nothing. */
export const cliRecordOverheadBytes = 64;

/** Callers of `proglog bench`: each holds a record and a promise, and as many may wait at a producer. */
export const benchCallersMaxCount = 10_000;

/** Causes of an error that are printed, one behind the other: they may form a ring. */
export const causeMaxDepth = 10;

/**
 * A disk call that was interrupted (EINTR) or asked to come again (EAGAIN) is made again, so often. A regular file does neither
 * for long: what goes on beyond it is a device that doesn't answer, and must not hold the event loop for ever.
 */
export const diskRetryMaxCount = 100;
/** Bytes of entries that one append asks a peer to take: with a group of the log's as large, one sync on the other end. */
export const sendMaxBytes = 1 * MiB;

/**
 * Requests of one ProduceStream under way: bytes that aren't appended, and requests that aren't answered; then no more is read until
 * some are. One read may go beyond: `grpcReceiveQueueBytes` and a message.
 */
export const produceStreamMaxBytes = 8 * MiB;
export const produceStreamMaxCount = 10_000;

/** The same in the one answer of a gRPC call: even where records are small, a message of it is below the 4 MiB that clients take. */
export const consumeCallMaxBytes = 2 * MiB;

/**
 * Produce requests over gRPC of a whole node under way. Below `appendQueueMaxBytes` by more than a read: so a log whose disk is slower than
 * its producers holds them back instead of refusing their appends.
 */
export const producesMaxBytes = 48 * MiB;

/** What unary requests that wait for room may hold; past it they are refused with OVERLOADED. Streams hold nothing here meanwhile. */
export const producesWaitingMaxBytes = 64 * MiB;

/** Records and headers of one produce request. Each is an object or two, of which a message of two bytes each would bring two million. */
export const produceRequestMaxCount = 100_000;

/**
 * Bytes of batches, or of records unpacked, in one answer of a ConsumeStream, at most. A stream that its client doesn't read holds one piece
 * of the log of that size, one answer, and what waits before it: with `grpcSendQueueBytes` three quarters of a MiB.
 */
export const consumeStreamMaxBytes = 256 * KiB;

/** A larger batch isn't read whole for a ConsumeStream but in pieces of so many bytes, each when there is room to send it. */
export const consumePieceBytes = 256 * KiB;

/** The same in one answer of Consume; one batch that is larger comes alone. */
export const consumePackedMaxBytes = 1 * MiB;

/** Batches that ConsumeStreams have unfolded to records, over a whole node. Past it those go first whose clients stand still. */
export const unfoldedMaxBytes = 32 * MiB;

/**
 * How long a ConsumeStream whose client takes nothing keeps what it unfolded: where others wait for room, and in any case. Then it costs
 * reading and unfolding again to go on, so a slow client must not cause it all the time.
 */
export const unfoldedPressedStallMs = 100;
export const unfoldedStallMs = 1_000;

/** What a record takes in memory that is unfolded, beside its bytes: it, the views of its key and value, and its place in a list. */
export const unfoldedRecordBytes = 256;

/** Waits of the client before it tries again: doubled from the first to the second. Short enough that a restarted node is found at once. */
export const clientRetryMinMs = 20;
export const clientRetryMaxMs = 2_000;

/** Callers that wait for room in a producer's buffer. What they hold together is bounded by the buffer's own size. */
export const producerWaitersMaxCount = 10_000;

/** Heads of the messages in one frame: some 10,000 heartbeats, or an append of as many entries as fit into `sendMaxBytes` twice. */
export const peerHeadsMaxBytes = 256 * KiB;

/** A frame of messages: an entry of the largest kind, what fits beside it, and the heads. */
export const peerMessagesMaxBytes = entryMaxBytes + sendMaxBytes + peerHeadsMaxBytes;

/** Entries that one frame gathers, but for a single append of more: larger frames save nothing, and what is urgent waits for them. */
export const peerFrameEntriesBytes = 256 * KiB;

/** The body of a question or an answer: two batches of the largest kind. More is fetched in pieces. */
export const peerBodyMaxBytes = 8 * MiB;

/** Memberships and trims that a log remembers with their places: a replica that opens needs two of each at the most. */
export const controlEntriesMaxCount = 64;
export const controlEntriesMaxBytes = 1 * MiB;

/** A configuration file: each key stands once, so some KiB; read whole before anything of it is known. */
export const configFileMaxBytes = 256 * KiB;

/** Join addresses: one name may mean many nodes, so more are a mistake. */
export const joinAddressesMaxCount = 64;

/** How long both ends of a connection between nodes have to say who they are; connecting and each address of a name included. */
export const peerHandshakeMaxMs = 5 * secondMs;

/**
 * Bytes that wait for one peer: the appends under way of eight busy groups (`inflightMaxBytes`). Beyond it they are dropped, and
 * their groups told so, which then probe: dearer than waiting, and yet a peer that doesn't read must not take the node's memory.
 */
export const peerBufferMaxBytes = 32 * MiB;

/** What messages without entries, refusals and pongs may take beyond that: a full buffer must not cost a leader its heartbeats. */
export const peerReserveBytes = 1 * MiB;

/** Bytes handed to a peer's socket at a time. What comes meanwhile and is urgent overtakes all but these, and what the kernel holds. */
export const peerSocketBytes = 256 * KiB;

/** Entries up to this are copied together into one write, and so many bytes at a time: a write of its own costs what copying some KiB does. */
export const peerSmallPieceBytes = 4 * KiB;
export const peerGatherBytes = 64 * KiB;

/** Questions that one connection may have under way, and the bytes of their bodies. Beyond it they are refused with OVERLOADED. */
export const peerQuestionsMaxCount = 128;
export const peerQuestionsMaxBytes = 32 * MiB;

/** How often an opener pings, and how long a peer may say nothing: three pings lost, or a node that stands still for longer than an election. */
export const peerPingMs = 1 * secondMs;
export const peerSilenceMaxMs = 4 * secondMs;

/** How long an ended connection may take to get its last bytes out; then it is dropped. */
export const peerCloseMaxMs = 1 * secondMs;

/** How long a connection that only asks waits for its next question. */
export const peerIdleMaxMs = 10 * secondMs;

/** Waits between two tries to reach a peer: a cluster has few, and one that restarts is to be found at once. */
export const peerBackoffStartMs = 50;
export const peerBackoffMaxMs = 1 * secondMs;

/** Connections of one peer that only ask: it has one a node, and maybe one that it has given up. */
export const peerAskersMaxCount = 4;

/** Addresses that are asked at a time, and addresses of one name that are tried. */
export const peerAskedAddressesMaxCount = 64;
export const peerAddressesOfNameMaxCount = 16;

/**
 * How often the controller looks around without being told that something changed: leaders move and nodes come back unannounced. Some way from
 * a multiple of an election timeout, after which a leader begins anew to count who answers it: asked in step with that, it would say each
 * time that nobody does.
 */
export const controllerIntervalMs = 1_030;

/** Groups that the controller asks about, or changes, at once. Each is a question or two under way. */
export const controllerStepsMaxCount = 16;

/** Groups whose members are being changed at once: each copies a log, within the rate for catching up. */
export const controllerMovesMaxCount = 8;

/** A group that gets no further for so long makes room for another: what it waits for may be a node that is down. */
export const controllerStallMs = 60 * secondMs;

/** Groups whose leadership is being handed back at once: each has a moment without a leader. */
export const controllerTransfersMaxCount = 4;

/** How long the controller waits after a step of a group, and after one that failed: doubled from the first to the second. Out of step, as above. */
export const controllerPauseMs = 100;
export const controllerRetryMinMs = 530;
export const controllerRetryMaxMs = 30 * secondMs;

/** How long a node has to be back before it leads again what it is to lead: one that comes and goes shouldn't. */
export const leaderReturnMs = 10 * secondMs;

/** How long a node that votes in group 0 may be away before another one votes in its place. Longer than a restart. */
export const catalogVoterGoneMs = 5 * 60 * secondMs;

/** How long a client waits for one node's answer about a topic before it asks another one as well: one that stands still mustn't hold up a failover. */
export const clientHedgeMs = 1_000;

/** How long a node may be silent about what was produced to it before other nodes are asked whether it still leads: beyond a slow disk's syncs. */
export const clientSilenceMs = 1_000;

/** Callers of a producer that wait to hear how many partitions there are. They are let in together, and each holds a promise. */
export const producerAskersMaxCount = 100_000;

/** Between two questions of a client about one topic: all who wait get one answer, and a leader that is gone isn't asked for in a loop. */
export const clientTopicIntervalMs = 100;

/** Topics whose leaders a client keeps. Past it the one that was learned of first is asked for again when it is needed. */
export const clientTopicsMaxCount = 2_000;

/** The longest wait of a client before it asks anew who leads: below an election's time, so that its end is soon heard of. */
export const clientRerouteMaxMs = 250;

/**
 * How long a consumer of a replicated partition asks on while each replica that it gets to says that its log or its disk is damaged: another
 * leads in seconds, and what rotted is fetched from others. Then it is told.
 */
export const clientDamageMaxMs = 30 * secondMs;

/** "The leader is there" that is followed at once, in a row: two nodes that each take the other for the leader must not keep a client busy. */
export const clientHintsMaxCount = 3;

/** How often a client asks a silent node whether it is there, and how long that may take: ten seconds, where a connection alone says nothing for minutes. */
export const clientKeepaliveMs = 5_000;
export const clientKeepaliveTimeoutMs = 5_000;

/** How long a replica may take to get to an offset that it is asked for; then another one is asked. */
export const replicaReachMaxMs = 2_000;

/**
 * How long a producer goes on asking when a batch that may have been appended is said not to follow: a node that was deposed and doesn't
 * know it yet says that, and believes it for no longer than an election takes.
 */
export const sequenceDoubtMaxMs = 10_000;

/** How long a changed log level may hold before it goes back by itself; for longer it is the configuration's. A blink would show nothing. */
export const logLevelForMinMs = secondMs;
export const logLevelForMaxMs = 7 * 24 * 60 * 60 * secondMs;

/**
 * Partitions of a node whose metrics are told one by one. Each has some dozen series, in a cluster one more for each follower, and whoever
 * stores them pays for each: beyond this, what is told of them together has to do.
 */
export const metricPartitionsMaxCount = 1_000;

/** Of a collector's answer to what is pushed: enough for its reason, and no more than that is read. */
export const otlpAnswerMaxBytes = 64 * KiB;

/** How long a stop waits for each of the last pushes: what they say is worth a moment, and no more. */
export const otlpGraceMs = 3 * secondMs;

/** What the context of a trace may take in a record's headers: twice what its specification asks a carrier to keep. Larger ones stay out. */
export const tracingHeadersMaxBytes = 1 * KiB;

/** Spans that wait to be pushed: some hundred bytes each, and with a push every five seconds some 400 a second. More say nothing new. */
export const spansMaxCount = 2_048;

/** How often spans are pushed: who looks at a trace has just made it. */
export const spansIntervalMs = 5 * secondMs;

/** Records looked at in a batch for a trace that is kept: some ten microseconds of each append. */
export const traceSearchMaxCount = 64;
