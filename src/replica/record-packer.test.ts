import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ProglogError } from "../base/error.ts";
import { lineBatchBytes } from "../base/limits.ts";
import type { RecordInput } from "../batch/record.ts";
import { type PackedAnswer, RecordPacker } from "./record-packer.ts";

/** A log whose appends are decided when the test says so. */
class HeldLog {
  readonly batches: { readonly values: readonly string[]; readonly settle: (error?: unknown) => void }[] = [];
  endOffset = 0;

  /** Records with this value are refused. */
  readonly guilty = "guilty";

  readonly prepare = (records: readonly RecordInput[]): (() => Promise<PackedAnswer>) => {
    const position = records.findIndex(({ value }) => value === this.guilty);
    if (position >= 0) throw new ProglogError("INVALID_RECORD", `Cannot pack record ${position} of the batch`);
    return () => this.append(records);
  };

  readonly append = (records: readonly RecordInput[]): Promise<PackedAnswer> => {
    const { promise, resolve, reject } = Promise.withResolvers<PackedAnswer>();
    const values = records.map(({ value }) => String(value));
    this.batches.push({
      values,
      settle: (error) => {
        if (error !== undefined) return reject(error);
        const baseOffset = this.endOffset;
        this.endOffset += records.length;
        resolve({ baseOffset, lastOffset: this.endOffset - 1, count: records.length });
      },
    });
    return promise;
  };

  values(): readonly (readonly string[])[] {
    return this.batches.map(({ values }) => values);
  }
}

function record(value: string): RecordInput[] {
  return [{ value }];
}

describe("record packer", () => {
  test("what comes in one turn goes together, and each caller gets its own offsets", async () => {
    const log = new HeldLog();
    const packer = new RecordPacker(log.prepare);
    const answers = [packer.append(record("a")), packer.append([{ value: "b" }, { value: "c" }]), packer.append(record("d"))];
    await Promise.resolve();
    assert.deepEqual(log.values(), [["a", "b", "c", "d"]]);
    log.batches[0]?.settle();
    assert.deepEqual(await Promise.all(answers), [
      { baseOffset: 0, lastOffset: 0, count: 1 },
      { baseOffset: 1, lastOffset: 2, count: 2 },
      { baseOffset: 3, lastOffset: 3, count: 1 },
    ]);
  });

  test("while two batches are under way, what comes is gathered and goes when one is done, in order", async () => {
    const log = new HeldLog();
    const packer = new RecordPacker(log.prepare);
    const answers = [];
    for (const value of ["a", "b", "c", "d"]) {
      answers.push(packer.append(record(value)));
      await Promise.resolve();
    }
    assert.deepEqual(log.values(), [["a"], ["b"]]);
    assert.ok(packer.gatheredBytes > 0);
    log.batches[0]?.settle();
    await answers[0];
    assert.deepEqual(log.values(), [["a"], ["b"], ["c", "d"]]);
    assert.equal(packer.gatheredBytes, 0);
    log.batches[1]?.settle();
    log.batches[2]?.settle();
    assert.deepEqual(
      (await Promise.all(answers)).map(({ baseOffset }) => baseOffset),
      [0, 1, 2, 3],
    );
  });

  test("no more than a batch's worth is gathered: then it goes, whatever is under way", async () => {
    const log = new HeldLog();
    const packer = new RecordPacker(log.prepare);
    const answers = [packer.append(record("a"))];
    await Promise.resolve();
    answers.push(packer.append(record("b")));
    await Promise.resolve();
    const half = "x".repeat(lineBatchBytes / 2 - 100);
    answers.push(packer.append(record(half)), packer.append(record(half)));
    assert.equal(log.batches.length, 2);
    answers.push(packer.append(record(half)));
    assert.equal(log.batches.length, 3);
    assert.ok(packer.gatheredBytes <= lineBatchBytes);
    // One that fills a batch goes alone, behind what was gathered before it.
    answers.push(packer.append([{ value: half }, { value: half }, { value: half }]));
    assert.deepEqual(
      log.batches.map(({ values }) => values.length),
      [1, 1, 2, 1, 3],
    );
    for (const batch of log.batches) batch.settle();
    await Promise.all(answers);
  });

  test("flush hands over what was gathered, so that what is appended past the packer lies behind it", async () => {
    const log = new HeldLog();
    const packer = new RecordPacker(log.prepare);
    const gathered = packer.append(record("a"));
    packer.flush();
    void log.append(record("b"));
    assert.deepEqual(log.values(), [["a"], ["b"]]);
    log.batches[0]?.settle();
    await gathered;
    assert.deepEqual(log.values(), [["a"], ["b"]]);
  });

  test("an invalid record is refused at once, and the others go", async () => {
    const log = new HeldLog();
    const packer = new RecordPacker(log.prepare);
    const good = packer.append(record("a"));
    await assert.rejects(packer.append([{ value: 7 as unknown as string }]), { code: "INVALID_RECORD" });
    log.batches[0]?.settle();
    assert.equal((await good).baseOffset, 0);
    assert.deepEqual(log.values(), [["a"]]);
  });

  test("a batch that is refused for a record is appended caller by caller, before anything that came later", async () => {
    const log = new HeldLog();
    const packer = new RecordPacker(log.prepare);
    const first = packer.append(record("a"));
    const guilty = packer.append(record(log.guilty));
    const second = packer.append(record("b"));
    packer.flush();
    void log.append(record("later"));
    assert.deepEqual(log.values(), [["a"], ["b"], ["later"]]);
    await assert.rejects(guilty, { code: "INVALID_RECORD", message: "Cannot pack record 0 of the batch" });
    for (const batch of log.batches) batch.settle();
    assert.deepEqual([(await first).baseOffset, (await second).baseOffset], [0, 1]);
  });

  test("what befell the batch befalls all its callers, and nothing is tried again", async () => {
    const log = new HeldLog();
    const packer = new RecordPacker(log.prepare);
    const answers = [packer.append(record("a")), packer.append(record("b"))];
    await Promise.resolve();
    log.batches[0]?.settle(new ProglogError("DISK_FAILED", "Cannot append"));
    for (const answer of answers) await assert.rejects(answer, { code: "DISK_FAILED" });
    assert.equal(log.batches.length, 1);
    const next = packer.append(record("c"));
    await Promise.resolve();
    log.batches[1]?.settle();
    assert.equal((await next).baseOffset, 0);
  });
});
