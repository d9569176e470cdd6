import { MiB, secondMs } from "./units.ts";

/** Limits of copying logs to a backup, each with its reason. */

/** Bytes of a store in one answer: long enough that a request costs nothing beside it, short enough that hundreds fit into a node's answers. */
export const backupPieceBytes = 4 * MiB;

/** Segments told of in one answer. Of each sealed one an index file may have to be opened for it, on the loop. */
export const backupSegmentsMaxCount = 256;

/** How often a partition is begun again, because its log was compacted, trimmed or led by another node while it was copied. */
export const backupTriesMaxCount = 20;

/** Before that: twice as long each time, from the first to the last. An election is over by then, and a run of compaction mostly. */
export const backupRetryMinMs = 100;
export const backupRetryMaxMs = 10 * secondMs;

/** How long a server may take for an answer before a backup takes it for lost. */
export const backupAnswerMaxMs = 60 * secondMs;

/** Of a backup's manifest: some 500,000 segments, which are 128 TiB at their usual size. */
export const backupManifestMaxBytes = 256 * MiB;

/** Of an answer that isn't bytes of a store: the topics, a base record in base64 and segments. */
export const backupAnswerMaxBytes = 128 * MiB;
