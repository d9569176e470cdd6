import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { controlEntriesMaxBytes, controlEntriesMaxCount } from "../base/limits.ts";
import {
  addControlEntry,
  type ControlEntries,
  cutControlEntries,
  decodeControlEntries,
  decodeTrim,
  encodeControlEntries,
  encodeTrim,
  noControlEntries,
  trimControlEntries,
} from "./control-entries.ts";

describe("control entries", () => {
  test("are listed in order, copies of them, and a cut takes back those behind it", () => {
    const payload = Buffer.from("one");
    const controls = fold([
      [3, payload],
      [5, encodeTrim(40)],
      [9, Buffer.from("two")],
    ]);
    payload.fill(0);
    assert.deepEqual(listOf(controls), ["3 one", "5 trim 40", "9 two"]);
    assert.deepEqual(listOf(cutControlEntries(controls, 8)), ["3 one", "5 trim 40"]);
    assert.equal(controls.fromIndex, 1);
  });

  test("beyond so many the oldest are let go, and from where on none is missing is known", () => {
    let controls = noControlEntries;
    for (let index = 1; index <= controlEntriesMaxCount; index += 1) controls = add(controls, index, Buffer.from("m"));
    assert.deepEqual([controls.entries.length, controls.fromIndex], [controlEntriesMaxCount, 1]);
    controls = add(controls, controlEntriesMaxCount + 1, Buffer.from("m"));
    assert.deepEqual([controls.entries.length, controls.fromIndex, controls.entries[0]?.index], [controlEntriesMaxCount, 2, 2]);
  });

  test("beyond so many bytes the oldest are let go, but never the newest", () => {
    const half = Buffer.alloc(controlEntriesMaxBytes / 2 - 16);
    const full = fold([
      [1, half],
      [2, half],
    ]);
    assert.equal(full.entries.length, 2);
    assert.deepEqual(
      add(full, 3, Buffer.from("m")).entries.map(({ index }) => index),
      [2, 3],
    );
    assert.deepEqual(
      add(full, 3, Buffer.alloc(controlEntriesMaxBytes)).entries.map(({ index }) => index),
      [3],
    );
  });

  test("a base needs the membership in force there, those behind it, and trims that aren't done", () => {
    const controls = fold([
      [2, Buffer.from("a")],
      [4, encodeTrim(10)],
      [6, Buffer.from("b")],
      [8, encodeTrim(20)],
      [9, Buffer.from("c")],
    ]);
    const trimmed = trimControlEntries(controls, { baseIndex: 7, logStartOffset: 10 });
    assert.deepEqual([listOf(trimmed), trimmed.fromIndex], [["6 b", "8 trim 20", "9 c"], 6]);
    assert.deepEqual(trimControlEntries(controls, { baseIndex: 0, logStartOffset: 0 }), controls);
  });

  test("are read as they were written, and not believed when more was described since", () => {
    const controls = fold([
      [3, Buffer.from("one")],
      [5, encodeTrim(40)],
    ]);
    const bytes = encodeControlEntries(controls, 7);
    assert.deepEqual(decodeControlEntries(bytes, 7), controls);
    assert.deepEqual(decodeControlEntries(bytes, 8), { fromIndex: 9, entries: [] });
    assert.equal(encodeControlEntries(noControlEntries, 7).length, 0);
    for (let end = 0; end < bytes.length; end += 1) {
      const cut = decodeControlEntries(bytes.subarray(0, end), 7);
      assert.ok(cut === undefined || cut.entries.length < 2, `cut at ${end}`);
    }
    for (const [at, value] of [
      [24, 2],
      [28, 2 ** 31],
      [16, 9],
    ] as const) {
      const broken = Buffer.from(bytes);
      broken.writeUInt32LE(value, at);
      assert.equal(decodeControlEntries(broken, 7), undefined, `${value} at ${at}`);
    }
  });

  test("the payload of a trim is its offset, and what is none trims nothing", () => {
    assert.equal(decodeTrim(encodeTrim(2 ** 40)), 2 ** 40);
    assert.equal(decodeTrim(Buffer.alloc(7, 1)), 0);
    assert.equal(decodeTrim(Buffer.alloc(8, 255)), 0);
  });
});

function fold(entries: readonly (readonly [number, Buffer])[]): ControlEntries {
  return entries.reduce((controls, [index, payload]) => add(controls, index, payload), noControlEntries);
}

function add(controls: ControlEntries, index: number, payload: Buffer): ControlEntries {
  return addControlEntry(controls, { index, kind: payload.length === 8 ? "trim" : "membership", payload });
}

function listOf({ entries }: ControlEntries): string[] {
  return entries.map(({ index, kind, payload }) =>
    kind === "trim" ? `${index} trim ${decodeTrim(payload)}` : `${index} ${payload.toString()}`,
  );
}
