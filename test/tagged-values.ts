import assert from "node:assert/strict";
import type { AppendOptions, Log } from "../src/log/log.ts";

/**
 * Values that say which producer's they are: a proof that knows what a log holds then knows who wrote it, too. Each value of a batch
 * has the same tag: producer, epoch, sequence of the first one, number of them.
 */
export type ProducerOption = NonNullable<AppendOptions["producer"]>;

interface Tag extends ProducerOption {
  readonly count: number;
}

const tagPattern = /^p(\d+)e(\d+)s(\d+)n(\d+)\//;

function findTag(value: string | undefined): Tag | undefined {
  const match = tagPattern.exec(value ?? "");
  if (match === null) return undefined;
  const [id = 0, epoch = 0, baseSequence = 0, count = 0] = match.slice(1).map(Number);
  return { id, epoch, baseSequence, count };
}

/** The producer to append a batch of these values with. */
export function producerOf(values: readonly string[]): { readonly producer?: ProducerOption } {
  const tag = findTag(values[0]);
  if (tag === undefined) return {};
  assert.equal(tag.count, values.length, "a tag counts the values of its batch");
  return { producer: { id: tag.id, epoch: tag.epoch, baseSequence: tag.baseSequence } };
}

/** Tags the values of one batch as the next of a producer, behind those in `before`. */
export function tagNext(id: number, values: readonly string[], before: readonly string[]): string[] {
  let baseSequence = 0;
  for (const batch of batchesOf(before)) {
    if (batch.producer.id === id) baseSequence = batch.producer.baseSequence + batch.values.length;
  }
  return values.map((value) => `p${id}e0s${baseSequence}n${values.length}/${value}`);
}

export interface TaggedBatch {
  readonly producer: ProducerOption;
  readonly values: readonly string[];
  /** Index of its first value. */
  readonly at: number;
}

/** The tagged batches among values. */
export function batchesOf(values: readonly string[]): TaggedBatch[] {
  const batches: TaggedBatch[] = [];
  for (let at = 0; at < values.length; ) {
    const tag = findTag(values[at]);
    const count = tag?.count ?? 1;
    if (tag !== undefined) {
      const { id, epoch, baseSequence } = tag;
      batches.push({ producer: { id, epoch, baseSequence }, values: values.slice(at, at + count), at });
    }
    at += count;
  }
  return batches;
}

/**
 * Sends each producer's last five batches again, to a log that holds `values` by their offsets. Throws where one of them isn't
 * answered as the retry that it is: with the offset and the time of the first try, and nothing appended.
 */
export async function checkRetries(log: Log, values: readonly string[]): Promise<void> {
  const batches = batchesOf(values);
  if (batches.length === 0) return;
  const times = new Map<number, number>();
  for await (const { baseOffset, appendTime } of log.batches()) times.set(baseOffset, appendTime);
  for (const id of new Set(batches.map(({ producer }) => producer.id))) {
    for (const batch of batches.filter(({ producer }) => producer.id === id).slice(-5)) {
      const end = log.logEndOffset;
      const result = await log.append(
        batch.values.map((value) => ({ value })),
        { producer: batch.producer },
      );
      const { baseOffset, lastOffset, count, isDuplicate, appendTime } = result;
      const lastExpected = batch.at + batch.values.length - 1;
      const what = `a retry of ${batch.values[0]}`;
      assert.deepEqual([isDuplicate, baseOffset, lastOffset, count], [true, batch.at, lastExpected, batch.values.length], what);
      assert.equal(appendTime, times.get(baseOffset) ?? appendTime, what);
      assert.equal(log.logEndOffset, end, what);
    }
  }
}
