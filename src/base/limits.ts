import { KiB, MiB } from "./units.ts";

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

/** Headers of a record. Each costs an object on decode. */
export const recordMaxHeaders = 1024;

/** Headers of all records of a batch: 16 MiB can inflate to eight million of two bytes each, and those decode to over a gigabyte. */
export const batchMaxHeaders = 1_000_000;

/** Appends that wait for their turn, in bytes. Past it an append is refused with APPEND_QUEUE_FULL, never buffered. */
export const appendQueueMaxBytes = 64 * MiB;

/** Appends that wait for their turn. Each holds a promise and some 300 bytes, whatever its size. */
export const appendQueueMaxCount = 1_000_000;

/** Bytes of one group of appends written and synced together: bounds what one sync can take, and so the tail latency. */
export const groupMaxBytes = 8 * MiB;

/** Bytes handed to one vectored write: 1 MiB costs some 0.3 ms, which is as long as the loop may stand still. */
export const writePieceMaxBytes = 1 * MiB;

/** Buffers in one vectored write: IOV_MAX on Linux. */
export const writePieceMaxBuffers = 1024;

/** What one read of a store asks for. Larger reads add nothing on loopback or a cached file. */
export const readPieceBytes = 1 * MiB;

/** Store files kept open for reading, over all logs of a process. Leaves most of a limit of 1,024 descriptors to sockets. */
export const openFilesMaxCount = 256;

/** Largest offset, index or timestamp taken from outside: a safe integer. */
export const integerMax = Number.MAX_SAFE_INTEGER;

/** Zeros written ahead of a store's end: grows from the first to the second while groups are small. */
export const zeroAheadMinBytes = 64 * KiB;
export const zeroAheadMaxBytes = 8 * MiB;

/** One entry, as the format allows it: leaves room above `batchMaxBytes`, and bounds what a damaged length can ask for. */
export const entryMaxBytes = 32 * MiB;

/** Payload of a control entry: a membership of many nodes fits many times over. */
export const entryControlMaxBytes = 1 * MiB;

/** A base record: some 100 bytes for each live producer, so 500,000 of them. */
export const baseRecordMaxBytes = 64 * MiB;

/** A manifest: some 200 bytes for each partition, so hundreds of times `partitionsMaxCount`. */
export const manifestMaxBytes = 64 * MiB;

/** Partitions of a node, over all topics. Each keeps a few descriptors and some hundred KiB; a flood of made-up topic names ends here. */
export const partitionsMaxCount = 10_000;

/** Logs opened or made at once at start: enough to keep a disk busy, few enough that recoveries don't fight for it. */
export const logOpensMaxCount = 4;

/** Directories that no manifest names, listed by name in the status; of more, only their number. */
export const orphansMaxCount = 100;

/** Connections of a node, unless configured. With the files of the logs it fits under a limit of 1,024 descriptors. */
export const connectionsMaxCount = 512;

/** Requests that one connection may have waiting one behind the other (pipelining). Each could be a long poll. */
export const pipelinedRequestsMaxCount = 16;

/** How long a new connection may take until its first bytes tell what it speaks, and a request until its head is complete. */
export const headersMaxMs = 5_000;

/** Bytes of a request's head. */
export const headersMaxBytes = 16 * KiB;

/** How long a whole request may take to arrive, its body included. */
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

/** Records of one answer over HTTP: unless asked for, and at most. Each is an object and a line of text. */
export const consumeRecordsDefault = 1_000;
export const consumeRecordsMaxCount = 10_000;

/** Bytes of batches read for one answer over HTTP: unless asked for, and at most. The text can be several times larger. */
export const consumeBytesDefault = 1 * MiB;
export const consumeMaxBytes = 8 * MiB;

/** How long a read over HTTP may wait for a first record: below the 60 s at which proxies give up. */
export const consumeWaitMaxMs = 55_000;
