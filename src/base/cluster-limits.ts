import { peerHeadsMaxBytes, recordMaxBytes, sendMaxBytes } from "./limits.ts";
import { dayMs, hourMs, minuteMs, secondMs, KiB, MiB } from "./units.ts";

/** The bounds of groups, nodes that speak with each other, and the catalog; as in limits.ts, each with its reason and a test at it. */

/** What a leader sends in an append before it knows where a peer's log agrees: mostly its first entry, sometimes for nothing. */
export const probeMaxBytes = 64 * KiB;

/** Bytes sent to a peer and not acknowledged: a gigabit link's 30 ms, and what a stuck peer's socket may hold of this group. */
export const inflightMaxBytes = 4 * MiB;

/** Appends sent to a peer and not acknowledged. */
export const inflightMaxCount = 256;

/** Bytes proposed to a leader and not committed: past it proposals are refused. As many as its appends may wait for a sync. */
export const uncommittedMaxBytes = 64 * MiB;

/** Proposals to a leader that aren't committed. Each holds a row in the core and a promise outside of it. */
export const uncommittedMaxCount = 100_000;

/** Readers of a group that wait for a read index. One round answers all; past it they are told to ask again. */
export const readsWaitingMaxCount = 100_000;

/** Entries that a learner may be behind when it is promoted: a few round trips under load, so that a commit never waits for a copy. */
export const promotionMaxLag = 1_000;

/** Messages of a group that wait for a hard state to be synced. Behind a disk that stalls, heartbeats' answers would pile up. */
export const heldMessagesMaxCount = 256;

/** Largest term: it lies in 32 bits on the disk. */
export const termMax = 2 ** 32 - 1;

/**
 * How far ahead a message's term may be. Terms can't be taken back, and at the last there are no more elections: no single broken
 * message may lead there. A group that held two elections a second would need three months for so many.
 */
export const termJumpMax = 2 ** 24;

/** How long a peer may take to answer a question, unless the asker says otherwise: above an election, and a round trip behind a bulk transfer. */
export const peerAnswerMaxMs = 10 * secondMs;

/** What a peer may say before it is known who it is: names and an address. */
export const peerHelloMaxBytes = 4 * KiB;

/** An error as a peer's answer: its texts are cut before, so only details could be too large, and are left out then. */
export const peerRefusalMaxBytes = 16 * KiB;

/** A frame that comes in pieces is gathered in a buffer of this size first: an append of the usual most, and a larger length may be a lie. */
export const peerAssemblyBytes = sendMaxBytes + peerHeadsMaxBytes;

/**
 * One copy of a node's hard states, of the two in their file: some 400 changes of one group until it is written anew. Zeros ahead of
 * them all, so that a sync has no size to journal.
 */
export const hardStateCopyMinBytes = 64 * KiB;

/** A file of hard states: at most 800 bytes for each group, four times in each of two copies; so some 10,000 groups of the longest names. */
export const hardStateMaxBytes = 64 * MiB;

/** A node record: some 500 bytes for each of `partitionsMaxCount` replicas, and 50 for each disk that was heard of. */
export const nodeRecordMaxBytes = 64 * MiB;

/** Changes of a node record that wait for its disk. Each is a replica made or deleted, or a peer that came back; one write takes all. */
export const nodeRecordChangesMaxCount = 10_000;

/** Disks whose highest boot counter a node remembers: far more than a cluster has, with those that were replaced. */
export const bootCountersMaxCount = 1_000;

/**
 * Syncs of a node's disk under way at a time. A device does a few at once as fast as one; each holds one of the four threads that Node
 * has for all file calls, and reads need one too.
 */
export const diskSyncsMaxCount = 3;

/** A node's name: with what goes before and behind it, it fits into the 255 bytes that a membership has for it. */
export const nodeNameMaxChars = 63;

/**
 * Commands of the catalog that are known by their ids to have been applied, so that one proposed again isn't applied twice. It belongs
 * to the format: all nodes forget the same ones. Proposals are given up after `catalogProposalMaxMs`, and few clusters change so
 * often meanwhile; beyond it a topic is still made only once, since it brings its uuid.
 */
export const appliedCommandsMaxCount = 1_000;

/** A snapshot of the catalog is taken when what was written since the last one is larger than both: this, and so many times the state. */
export const catalogSnapshotMinBytes = 1 * MiB;
export const catalogSnapshotTimes = 4;

/** Characters of one piece of a snapshot: as JSON at most six times as many bytes, below the limit of a record. */
export const catalogSnapshotPartMaxChars = 128 * KiB;

/** Bytes of a command of the catalog: a record's limit. A topic of some 10,000 partitions fits. */
export const catalogCommandMaxBytes = recordMaxBytes;

/** Appends that wait until a new leader may judge them, in number; in bytes they are bounded by `appendQueueMaxBytes`. */
export const heldAppendsMaxCount = 10_000;

/**
 * Retries and refusals of a group that wait for what they rest on to be committed. Each is a client that has asked again within a round trip;
 * past it they are told to ask later.
 */
export const answersWaitingMaxCount = 10_000;

/** Readers of a replica that know what they wait for, and wait until this replica shows it. Past it they are told to ask again. */
export const shownWaitersMaxCount = 10_000;

/** How long a replica waits that found no room on its disk for entries or its vote: space comes back by hand, or by a trim. */
export const diskFullRetryMs = 500;

/** How long a voter may be silent until trims wait no longer for what it lacks: it is to be replaced then, and keeps no disk from being freed. */
export const peerRetentionMs = 1 * dayMs;

/** Bytes that all groups of a node have taken and not synced: what a disk of 160 MB/s does in a tenth of a second. */
export const unsyncedMaxBytes = 16 * MiB;

/** Streams that wait for the disk to sync what groups have taken: as many as a node's connections can have. */
export const unsyncedWaitersMaxCount = 65_536;

/** A node's tick: elections and heartbeats of all its groups are counted in these. */
export const groupTickMs = 50;

/** Ticks late from which on the loop counts as stalled: above a long turn, below a heartbeat or two. */
export const stallTicks = 3;

/** Turns of the loop in which messages that came during a stall are taken in before ticks are: each reads 64 KiB of each connection. */
export const stallTurnsMaxCount = 64;

/** A sync that is under way for as long means a disk that stalls: another node leads its groups better. */
export const diskStallMs = 2 * secondMs;

/** How long there may be no way to a node until groups that sleep are told that it is lost. */
export const peerLostAfterMs = 1 * secondMs;

/**
 * How long a group that sleeps sleeps at most where it is led; elsewhere half as long again. Whatever nobody thought of lasts no longer, and of a
 * thousand groups two wake in a second.
 */
export const groupWakeMs = 10 * minuteMs;

/** Groups of which it is remembered, or told, who leads them: ten nodes' worth of `partitionsMaxCount`. */
export const ledGroupsMaxCount = 100_000;

/** How long a node waits before it tells a peer again who leads what, when that failed. */
export const leaderNewsRetryMs = 1 * secondMs;

/** Nodes that vote in group 0, and as many from that number of nodes on: two failures are borne then, and more voters only cost time. */
export const catalogVotersMinCount = 3;
export const catalogVotersMaxCount = 5;

/** Nodes of a cluster: each is a member of group 0, and has connections to all others. */
export const clusterNodesMaxCount = 100;

/** Changes of the catalog that wait at the leader of group 0. Each holds a promise and what it asks for. */
export const catalogProposalsMaxCount = 10_000;

/** Changes of the catalog appended at once, and their bytes: far below a batch's limit, of which one alone may be a quarter. */
export const catalogTurnMaxCount = 1_000;
export const catalogAppendMaxBytes = 1 * MiB;

/** How long a change of the catalog is tried, over elections and lost connections, and the waits in between: doubled from the first to the last. */
export const catalogProposalMaxMs = 15 * secondMs;
export const catalogRetryMinMs = 20;
export const catalogRetryMaxMs = 1_000;

/** Calls that wait until the catalog has been folded up to where it was confirmed: more than a node's connections can have under way. */
export const catalogWaitsMaxCount = 10_000;

/** Partitions of a single node's topic that one command of the catalog takes over: some 110 bytes each, within a record's limit. */
export const manifestPartitionsMaxCount = 4_000;

/** Nodes that may form a cluster together: each has to be up at once and to promise, and a cluster grows by joining. */
export const initialNodesMaxCount = 64;

/** Addresses that a node without a cluster asks: what its join addresses resolve to, and nodes that these know of. */
export const formationAddressesMaxCount = 256;

/** Starts of nodes that a node without a cluster remembers to have heard of; of more, the one not heard of for longest is forgotten. */
export const formationNodesMaxCount = 512;

/** A question about formation, or its answer: `initialNodesMaxCount` members and `formationAddressesMaxCount` addresses of any length that a name has. */
export const formationBodyMaxBytes = 256 * KiB;

/** How often a node without a cluster asks others; two to three times a second is soon enough for people, and nothing for a network. */
export const formationRoundMs = 400;

/** How long one question may take, and for how long an answer counts: a node that was asked twice in vain isn't there. */
export const formationAnswerMaxMs = 2 * secondMs;
export const formationFreshMs = 5 * secondMs;

/** For how long nothing new was heard before a node commits itself: all who start together have been heard of, those too many among them. */
export const formationSettleMs = 1 * secondMs;

/** How often a node that waits for others says again what for. */
export const formationReminderMs = 60 * secondMs;

/** Replicas that a node makes or removes at a time: each syncs a handful of files, and what they note goes together. */
export const replicaKeeperCreatesMaxCount = 32;

/** How long a node waits before it tries again to make or remove a replica. */
export const replicaKeeperRetryMs = 2 * secondMs;

/** How long a node that stops waits for what it leads to be led elsewhere: an election's time. */
export const handOverMaxMs = secondMs;

/** How long a replica is out of action, while its node lives, before it counts as lost and another one is made. */
export const replicaLostAfterMs = minuteMs;

/** How long a request to the cluster waits until what it asked for is so, and how often that is looked at. */
export const clusterAnswerMaxMs = 10 * secondMs;
export const clusterPollMs = 5;

/** One piece of a log that is copied to another node, unless its first entry is larger: a broken connection costs no more. */
export const fetchPieceBytes = 1 * MiB;

/** What a node sends of its logs to those that catch up or repair, unless configured: less than half of a gigabit link. */
export const catchUpBytesPerSecond = 50 * MiB;

/** Logs that a node receives at a time: each writes and syncs pieces of `fetchPieceBytes`, and more of them wouldn't come sooner. */
export const catchUpsMaxCount = 4;

/** How long one log may take to be received until it is asked for anew: what has come stays. */
export const catchUpMaxMs = 60 * minuteMs;

/** Before a catch-up that failed is tried again: doubled from the first to the last. */
export const catchUpRetryMinMs = 500;
export const catchUpRetryMaxMs = 30 * secondMs;

/**
 * How often the members of group 0 are looked at while nothing of the catalog changes. Each look wakes it for three seconds; what is
 * found so late is a voter that has been away for `catalogVoterGoneMs`.
 */
export const catalogLookMs = 1 * minuteMs;

/** Before a repair that failed is tried again: doubled from the first to the last. Peers may be down, or rotten at the same place. */
export const repairRetryMinMs = 1 * secondMs;
export const repairRetryMaxMs = 60 * secondMs;

/**
 * When the replica that is to lead a new group asks for votes, from its making on, as long as nobody leads: the others may not have made
 * theirs yet. Behind the last one a timeout decides, as ever.
 */
export const firstCampaignsMs: readonly number[] = [0, 50, 100, 200, 400];

/** How long the making of a topic waits for its partitions to be led; it is made all the same. */
export const topicLedMaxMs = 3 * secondMs;

/** How long a topic's description waits to be fresh, where one is known: a client that looks for a leader waits for it. */
export const describeMaxMs = 500;

/** Deleted groups of which a node says in one command that it has nothing any more: some 40 bytes each, within a record's limit. */
export const forgottenGroupsMaxCount = 10_000;

/**
 * Deleted groups that the catalog remembers for nodes that are away: some 60 bytes each in its snapshots. Past it topics can't be deleted until
 * those nodes are back, or removed: forgotten, their files would stay there for ever.
 */
export const deletedGroupsMaxCount = 100_000;

/**
 * How long trims wait for a member that answers, lags behind and gets no further, as on a disk that is full: so they fill the others' disks
 * by no more than an hour's records. Should it go on after all, it is given files.
 */
export const peerStuckMs = 1 * hourMs;
