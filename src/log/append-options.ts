import { ProglogError } from "../base/error.ts";
import { integerMax } from "../base/limits.ts";
import type { EncodeBatchOptions } from "../batch/encode-batch.ts";
import type { AppendOptions } from "./log.ts";

/** Throws INVALID_ARGUMENT with details {option} for a condition that no log end can fulfil. */
export function checkCondition({ expectedOffset }: Pick<AppendOptions, "expectedOffset">): void {
  if (expectedOffset !== undefined) checkWithin("expectedOffset", expectedOffset, integerMax);
}

/** A producer as a batch carries it. Throws INVALID_ARGUMENT with details {option}. */
export function producerFields({
  producer,
}: AppendOptions): Pick<EncodeBatchOptions, "producerId" | "producerEpoch" | "baseSequence"> {
  if (producer === undefined) return {};
  const { id, epoch, baseSequence } = producer;
  checkWithin("producer.id", id, integerMax);
  checkWithin("producer.epoch", epoch, 2 ** 15 - 1);
  checkWithin("producer.baseSequence", baseSequence, 2 ** 31 - 1);
  return { producerId: id, producerEpoch: epoch, baseSequence };
}

function checkWithin(option: string, value: number, max: number): void {
  if (Number.isSafeInteger(value) && value >= 0 && value <= max) return;
  throw new ProglogError(
    "INVALID_ARGUMENT",
    `Cannot append with ${option} ${value}: it must be a whole number from 0 to ${max}`,
    { details: { option } },
  );
}
