import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { type ErrorCode, isProglogError } from "../base/error.ts";
import { batchInflatedMaxBytes } from "../base/limits.ts";
import { MiB } from "../base/units.ts";
import { checkCompression, compress, compressionNumber, compressions, inflate } from "./compression.ts";

const kinds = ["gzip", "zstd", "snappy", "lz4"] as const;
const raw = {
  gzip: (data: Buffer) => gzipSync(data),
  zstd: (data: Buffer) => zstdCompressSync(data),
  snappy: (data: Buffer) => compress("snappy", data, data.length),
  lz4: (data: Buffer) => compress("lz4", data, data.length),
};

test("compressions have Kafka's numbers", () => {
  assert.deepEqual((["none", "gzip", "snappy", "lz4", "zstd"] as const).map(compressionNumber), [0, 1, 2, 3, 4]);
});

test("what was compressed inflates to the same bytes", () => {
  fc.assert(
    fc.property(fc.constantFrom("none", ...kinds), fc.uint8Array({ maxLength: 5000, size: "max" }), (compression, data) => {
      const body = Buffer.from(data);
      assert.deepEqual(inflate(compression, compress(compression, body)), body);
    }),
    { seed: 1 },
  );
});

for (const compression of kinds) {
  test(`${compression} data of exactly the allowed size inflates, and one byte more is refused`, () => {
    const whole = raw[compression](Buffer.alloc(batchInflatedMaxBytes));
    assert.equal(inflate(compression, whole).length, batchInflatedMaxBytes);
    const beyond = raw[compression](Buffer.alloc(batchInflatedMaxBytes + 1));
    assert.throws(() => inflate(compression, beyond), coded("BATCH_TOO_LARGE", /take more than 16777216 bytes inflated/));
  });

  test(`${compression} data cut at any byte is refused`, () => {
    const whole = compress(compression, Buffer.from("one two three one two three"));
    // Snappy's stream has no end of its own: up to a block's border it is whole, and records are missing.
    const borders = compression === "snappy" ? [16] : [];
    for (let end = 0; end < whole.length; end += 1) {
      if (borders.includes(end)) continue;
      assert.throws(() => inflate(compression, whole.subarray(0, end)), coded("INVALID_BATCH", /no whole/));
    }
  });

  test(`bytes behind the end of ${compression} data are refused`, () => {
    const whole = compress(compression, Buffer.from("one two three"));
    const more = Buffer.concat([whole, Buffer.alloc(3)]);
    assert.throws(
      () => inflate(compression, more),
      coded("INVALID_BATCH", compression === "snappy" ? /no whole/ : /ends 3 bytes before the batch does/),
    );
  });

  test(`a result larger than allowed is no ${compression} batch`, () => {
    const body = Buffer.from("one two three");
    const { length } = compress(compression, body);
    assert.equal(compress(compression, body, length).length, length);
    assert.throws(() => compress(compression, body, length - 1), coded("BATCH_TOO_LARGE", /still takes more than/));
  });
}

for (const compression of ["gzip", "zstd"] as const)
  test(`a ${compression} bomb is refused`, () => {
    const bomb = raw[compression](Buffer.alloc(256 * MiB));
    assert.ok(bomb.length < MiB);
    assert.throws(() => inflate(compression, bomb), coded("BATCH_TOO_LARGE", /inflated/));
  });

test("every compression can be done where the optional packages are installed", () => {
  for (const compression of compressions) checkCompression(compression);
});

function coded(code: ErrorCode, message: RegExp): (error: unknown) => boolean {
  return (error) => isProglogError(error, code) && message.test(error.message);
}
