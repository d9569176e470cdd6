import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import fc from "fast-check";
import { crc32c, crc32cPure, isCrc32cNative } from "./crc32c.ts";

/** RFC 3720, appendix B.4, and the check value of the CRC catalogues. */
const vectors: readonly (readonly [string, Buffer, number])[] = [
  ["the digits 1 to 9", Buffer.from("123456789"), 0xe3069283],
  ["32 zeros", Buffer.alloc(32), 0x8a9136aa],
  ["32 times 0xff", Buffer.alloc(32, 0xff), 0x62a8ab43],
  ["0 to 31", Buffer.from(Array.from({ length: 32 }, (_, at) => at)), 0x46dd794e],
  ["31 to 0", Buffer.from(Array.from({ length: 32 }, (_, at) => 31 - at)), 0x113fdb5c],
  [
    "an iSCSI read command",
    Buffer.from("01c0000000000000000000000000000014000000000004000000001400000018280000000000000002000000" + "00000000", "hex"),
    0xd9963a56,
  ],
  ["nothing", Buffer.alloc(0), 0],
];

for (const [name, data, expected] of vectors) {
  test(`the CRC-32C of ${name} is the published one`, () => {
    assert.equal(crc32c(data), expected);
    assert.equal(crc32cPure(data), expected);
    assert.equal(bitwise(data, 0), expected);
  });
}

test("native, sliced and bit by bit agree at every alignment and length, and chain", () => {
  const range = fc.record({
    data: fc.uint8Array({ minLength: 0, maxLength: 1200, size: "max" }),
    start: fc.nat(40),
    cut: fc.nat(40),
    middle: fc.double({ min: 0, max: 1, noNaN: true }),
    seed: fc.nat(0xffffffff),
  });
  fc.assert(
    fc.property(range, ({ data, start: wantedStart, cut, middle, seed }) => {
      const start = Math.min(wantedStart, data.length);
      const end = Math.max(start, data.length - cut);
      const expected = bitwise(data.subarray(start, end), seed);
      assert.equal(crc32cPure(data, start, end, seed), expected);
      assert.equal(crc32c(data, start, end, seed), expected);
      const split = start + Math.floor((end - start) * middle);
      assert.equal(crc32c(data, split, end, crc32c(data, start, split, seed)), expected);
    }),
    { seed: 1, numRuns: 300 },
  );
});

test("every length around the change from sliced to native gives the same checksum", () => {
  const data = Buffer.from(Array.from({ length: 700 }, (_, at) => (at * 131) & 0xff));
  for (let length = 0; length <= 690; length += 1)
    assert.equal(crc32c(data, 3, 3 + length), bitwise(data.subarray(3, 3 + length), 0));
});

test("a range beyond the data is refused, not cut", () => {
  for (const [start, end] of [
    [0, 11],
    [-1, 5],
    [6, 5],
  ] as const) {
    assert.throws(() => crc32c(Buffer.alloc(10), start, end), { name: "AssertionError" });
    assert.throws(() => crc32cPure(Buffer.alloc(10), start, end), { name: "AssertionError" });
  }
  assert.throws(() => crc32c(Buffer.alloc(1000), 0, 1001), { name: "AssertionError" });
});

test("the native code is used where its package can be loaded", (context) => {
  try {
    createRequire(import.meta.url)("@node-rs/crc32");
  } catch {
    return context.skip("the package has no build for this platform");
  }
  assert.equal(isCrc32cNative(), true);
});

test("without the native package the checksum is the same", async () => {
  // A copy far from any node_modules finds no package.
  const directory = mkdtempSync(join(tmpdir(), "proglog-crc32c-"));
  try {
    for (const room of ["base", "batch"]) mkdirSync(join(directory, room));
    writeFileSync(join(directory, "package.json"), '{ "type": "module" }');
    for (const file of ["base/assert.ts", "batch/crc32c.ts"]) {
      copyFileSync(new URL(`../${file}`, import.meta.url), join(directory, file));
    }
    const copy = (await import(pathToFileURL(join(directory, "batch/crc32c.ts")).href)) as typeof import("./crc32c.ts");
    assert.equal(copy.isCrc32cNative(), false);
    const data = Buffer.alloc(5000, 7);
    assert.equal(copy.crc32c(data), crc32c(data));
  } finally {
    rmSync(directory, { recursive: true });
  }
});

/** The definition, a bit at a time. */
function bitwise(data: Uint8Array, seed: number): number {
  let crc = ~seed;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}
