import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createSeededRandom, type SeededRandom } from "../sim/random.ts";
import { KiB } from "../src/base/units.ts";
import type { AppendResult, Log, LogOptions } from "../src/log/log.ts";
import { LogWorld } from "./log-world.ts";

/**
 * A log knows its producers as an array of batches does: random operations, and after each of them whoever asks again for one of a
 * producer's last five batches gets the answer of the first time, and whoever goes on may. One seed is one run.
 */
const stepsPerRun = 80;

describe("a log knows its producers as an array of batches does", () => {
  for (let seed = 0; seed < 60; seed += 1) {
    test(`seed ${seed}`, () => run(createSeededRandom(`producers/${seed}`)));
  }
});

interface Sent {
  readonly id: number;
  readonly baseSequence: number;
  readonly result: AppendResult;
}

async function run(random: SeededRandom): Promise<void> {
  const world = new LogWorld();
  const options: LogOptions = {
    segmentMaxBytes: random.pick([1 * KiB, 3 * KiB, 64 * KiB]),
    indexMaxBytes: random.pick([32, 100, 16 * KiB]),
    producerExpiryMs: Number.POSITIVE_INFINITY,
    sync: random.pick(["always", "always", "never"] as const),
  };
  let log = await world.open(options);
  let sent: Sent[] = [];
  const trace: string[] = [];
  try {
    for (let step = 0; step < stepsPerRun; step += 1) {
      world.clock.advance(random.integer(3));
      const choice = random.integer(20);
      if (choice < 9) {
        const id = random.integer(3);
        const baseSequence = nextOf(sent, id);
        sent.push({ id, baseSequence, result: await send(log, id, baseSequence, 1 + random.integer(3)) });
        assert.equal(sent.at(-1)?.result.isDuplicate, false);
        trace.push(`send ${id}/${baseSequence}`);
      } else if (choice < 12) {
        await log.append({ value: "nobody's" });
        trace.push("append");
      } else if (choice < 14) {
        const starts = sent.map(({ result }) => result.baseOffset).filter((offset) => offset >= log.logStartOffset);
        const offset = random.pick([...starts, log.logEndOffset]);
        await log.truncate(offset);
        sent = sent.filter(({ result }) => result.baseOffset < offset);
        trace.push(`truncate ${offset}`);
      } else if (choice === 14) {
        const offset = log.logStartOffset + random.integer(log.logEndOffset - log.logStartOffset + 1);
        await log.trim(offset);
        trace.push(`trim ${offset}`);
      } else if (choice < 17) {
        await log.close();
        log = await world.open(options);
        assert.equal(log.recovery.kind, "clean");
        trace.push("reopen");
      } else {
        world.kill();
        log = await world.open(options);
        trace.push("kill");
      }
      await retry(log, sent);
    }
  } catch (error) {
    throw new Error(`${JSON.stringify(options)}, after: ${trace.join(", ")}: ${String(error)}`, { cause: error });
  }
  await log.close();
}

function send(log: Log, id: number, baseSequence: number, count: number): Promise<AppendResult> {
  const records = Array.from({ length: count }, (_, i) => ({ value: `${id}/${baseSequence + i}`.padEnd(60) }));
  return log.append(records, { producer: { id, epoch: 0, baseSequence } });
}

function nextOf(sent: readonly Sent[], id: number): number {
  const last = sent.findLast((batch) => batch.id === id);
  return last === undefined ? 0 : last.baseSequence + last.result.count;
}

/** What was trimmed away and then truncated over may be forgotten; what can be read never is. */
async function retry(log: Log, sent: readonly Sent[]): Promise<void> {
  const { logStartOffset, logEndOffset } = log;
  for (const id of new Set(sent.map((batch) => batch.id))) {
    for (const { baseSequence, result } of sent.filter((batch) => batch.id === id).slice(-5)) {
      if (result.baseOffset < logStartOffset) continue;
      const again = await send(log, id, baseSequence, result.count);
      assert.deepEqual({ ...again, isDurable: result.isDurable }, { ...result, isDuplicate: true }, `${id}/${baseSequence}`);
    }
  }
  assert.equal(log.logEndOffset, logEndOffset);
}
