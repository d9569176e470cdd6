import { MiB, minuteMs, secondMs } from "./units.ts";

/** What `proglog doctor` takes for too little or too much, each with its reason. */

/** Syncs that it times: enough that one that had to wait for somebody else doesn't stand for the disk. */
export const doctorSyncsCount = 20;

/** Bytes of each: a small group of appends. */
export const doctorSyncBytes = 4096;

/** A sync in the middle of those that takes longer is a disk on which every append waits that long. */
export const doctorSyncMaxMs = 50;

/** Part of a file system that should be free: retention removes whole segments, and removing has to write, too. */
export const doctorFreeMinRatio = 0.1;

/** Files that may still be made: a segment is up to three, and a roll that can't make them stops its log. */
export const doctorFreeFilesMinCount = 10_000;

/** Partitions that descriptors should suffice for; below it somebody meets TOO_MANY_PARTITIONS soon. */
export const doctorPartitionsMinCount = 1_000;

/** What a node may hold at its limits: bodies and answers of 128 MiB each, appends that wait, and V8's own. */
export const doctorMemoryMinBytes = 512 * MiB;

/** The clock of another node is told in whole seconds, and its answer takes a moment. Beyond it retention by age differs noticeably. */
export const doctorClockSkewMaxMs = 5 * secondMs;

/** A file from so far ahead wasn't written a moment ago: the clock has gone back. */
export const doctorFutureMaxMs = minuteMs;

/** 2025: whoever reads an earlier year has a clock that was never set. */
export const doctorYearMin = 2025;

/** How long another node or a name server may take to answer. */
export const doctorAnswerMaxMs = 3 * secondMs;

/** A certificate that ends sooner should have been replaced by now. */
export const doctorCertificateMinDays = 14;

/** Of a file of certificates: far more than any chain. */
export const doctorCertificateMaxBytes = 1 * MiB;
