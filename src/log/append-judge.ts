import { unreachable } from "../base/assert.ts";
import { ProglogError } from "../base/error.ts";
import { type ProducerClaim, ProducerStage, type ProducerTable, type ProducerVerdict } from "./producer-table.ts";
import type { PendingAppend } from "./work-queue.ts";

/**
 * Which appends of a group are written, and what the others are answered. In the order in which they came, each against the log as it
 * will be once those before it are written: first whether it is a retry of what is there already, then its condition. So of
 * several retries and conditions that wait together each is judged as if it had come alone.
 *
 * What isn't written is answered all the same. Where the answer rests on an append of this very group it comes with the group's,
 * never before: if that one doesn't come to be, it isn't true. Where it rests on nothing but what was there before, it holds whatever
 * becomes of the group.
 */
export interface JudgedAppends {
  /** In order. */
  readonly accepted: readonly PendingAppend[];
  /** Those whose answer is true already. */
  readonly settled: readonly JudgedAppend[];
  /** Those whose answer is true once what is accepted is written. */
  readonly others: readonly JudgedAppend[];
  /** By which they were judged, and which those accepted get. */
  readonly appendTime: number;
}

/** Those whose answer depends on what becomes of the group. */
export function unsettledOf({ accepted, others }: JudgedAppends): readonly PendingAppend[] {
  return others.length === 0 ? accepted : [...accepted, ...others.map(({ append }) => append)];
}

export type JudgedAppend =
  | { readonly kind: "duplicate"; readonly append: PendingAppend; readonly original: OriginalAppend }
  | { readonly kind: "refused"; readonly append: PendingAppend; readonly error: ProglogError };

/** Where a batch lies that was sent again. */
export interface OriginalAppend {
  readonly baseOffset: number;
  readonly recordCount: number;
  readonly appendTime: number;
}

export interface JudgingLog {
  readonly producers: ProducerTable;
  /** The offset that the group's first record will get, and its time. */
  readonly nextOffset: number;
  readonly appendTime: number;
}

export function judgeAppends(appends: readonly PendingAppend[], log: JudgingLog): JudgedAppends {
  if (appends.every(isUnconditional)) return { accepted: appends, settled: [], others: [], appendTime: log.appendTime };
  const stage = new ProducerStage(log.producers, log.appendTime);
  const accepted: PendingAppend[] = [];
  const settled: JudgedAppend[] = [];
  const others: JudgedAppend[] = [];
  let { nextOffset } = log;
  for (const append of appends) {
    const verdict = judgeAppend(append, stage, nextOffset);
    if (verdict.kind === "accepted") {
      if (verdict.claim !== undefined) stage.note(verdict.claim, nextOffset);
      accepted.push(append);
      nextOffset += append.header.lastOffsetDelta + 1;
    } else if (verdict.kind === "duplicate") {
      const isBefore = verdict.original.baseOffset < log.nextOffset;
      (isBefore ? settled : others).push({ kind: "duplicate", append, original: verdict.original });
    } else {
      const isBefore = verdict.by === "producer" ? !stage.isStaged(append.header.producerId) : nextOffset === log.nextOffset;
      (isBefore ? settled : others).push({ kind: "refused", append, error: verdict.error });
    }
  }
  return { accepted, settled, others, appendTime: log.appendTime };
}

export type AppendVerdict =
  | { readonly kind: "accepted"; readonly claim: ProducerClaim | undefined }
  | { readonly kind: "duplicate"; readonly original: OriginalAppend }
  /** For what its producer wrote before, or for where the log ends. */
  | { readonly kind: "refused"; readonly by: "producer" | "condition"; readonly error: ProglogError };

/** Judges one append against a log that ends at `nextOffset`, and what `producers` know then. */
export function judgeAppend(
  { header, expectedOffset }: Pick<PendingAppend, "header" | "expectedOffset">,
  producers: { judge(claim: ProducerClaim): ProducerVerdict },
  nextOffset: number,
): AppendVerdict {
  const claim = claimOf(header);
  const verdict = claim === undefined ? undefined : producers.judge(claim);
  if (verdict?.kind === "duplicate") return { kind: "duplicate", original: verdict.batch };
  if (claim !== undefined && verdict !== undefined && verdict.kind !== "new")
    return { kind: "refused", by: "producer", error: refusal(claim, verdict) };
  if (expectedOffset !== undefined && expectedOffset !== nextOffset)
    return { kind: "refused", by: "condition", error: conditionError(expectedOffset, nextOffset) };
  return { kind: "accepted", claim };
}

/**
 * Answers what wasn't written. `isDurable` tells of an append whether it is; its records before `durableOffset` are.
 */
export function answerOthers(others: readonly JudgedAppend[], durableOffset: number): void {
  for (const other of others) {
    const { append } = other;
    if (other.kind === "refused") {
      append.reject(other.error);
      continue;
    }
    const { baseOffset, recordCount: count, appendTime } = other.original;
    const lastOffset = baseOffset + count - 1;
    append.resolve({ baseOffset, lastOffset, count, appendTime, isDurable: lastOffset < durableOffset, isDuplicate: true });
  }
}

function isUnconditional({ header, expectedOffset }: PendingAppend): boolean {
  return header.producerId < 0 && expectedOffset === undefined;
}

function claimOf(header: PendingAppend["header"]): ProducerClaim | undefined {
  if (header.producerId < 0) return undefined;
  const { producerId, producerEpoch, baseSequence, recordCount } = header;
  return { producerId, producerEpoch, baseSequence, recordCount };
}

function refusal(
  { producerId, producerEpoch, baseSequence: sequence }: ProducerClaim,
  verdict: Exclude<ProducerVerdict, { kind: "new" | "duplicate" }>,
): ProglogError {
  switch (verdict.kind) {
    case "fenced": {
      const { currentEpoch } = verdict;
      return new ProglogError(
        "PRODUCER_FENCED",
        `Cannot append as producer ${producerId} of epoch ${producerEpoch}: epoch ${currentEpoch} has written`,
        {
          hint: "Somebody else goes on under this producer id. Stop; or begin anew at sequence 0 with a higher epoch, which shuts them out.",
          details: { producerId, producerEpoch, currentEpoch },
        },
      );
    }
    case "out-of-order": {
      const { expectedSequence } = verdict;
      return new ProglogError(
        "OUT_OF_ORDER_SEQUENCE",
        `Cannot append sequence ${sequence} of producer ${producerId}: ${expectedSequence} follows`,
        {
          hint: "Append what is missing first, or begin anew at sequence 0 with a higher epoch.",
          details: { producerId, expectedSequence, sequence },
        },
      );
    }
    case "too-old":
      return new ProglogError(
        "DUPLICATE_SEQUENCE",
        `Cannot append sequence ${sequence} of producer ${producerId}: it was appended before, and at which offset isn't known any more`,
        { hint: "Go on with what follows: these records are in the log.", details: { producerId, sequence } },
      );
    default:
      return unreachable(verdict);
  }
}

function conditionError(expectedOffset: number, logEndOffset: number): ProglogError {
  return new ProglogError("CONDITION_FAILED", `Cannot append at offset ${expectedOffset}: the log ends at ${logEndOffset}`, {
    hint: `Read what is there now, decide anew, and append with expectedOffset ${logEndOffset}.`,
    details: { expectedOffset, logEndOffset },
  });
}
