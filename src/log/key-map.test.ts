import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createSeededRandom } from "../../sim/random.ts";
import { KiB } from "../base/units.ts";
import { KeyHash } from "./key-hash.ts";
import { KeyMap, keySlotBytes } from "./key-map.ts";

const random = createSeededRandom("key map");

describe("the hash of a key", () => {
  test("is SipHash-2-4 of 128 bits, by the vectors of its authors", () => {
    const hash = new KeyHash(Buffer.from(Array.from({ length: 16 }, (_, i) => i)));
    const message = Buffer.from(Array.from({ length: 64 }, (_, i) => i));
    const expected = {
      0: "a3817f04ba25a8e66df67214c7550293",
      1: "da87c1d86b99af44347659119b22fc45",
      2: "8177228da4a45dc7fca38bdef60affe4",
      8: "3b62a9ba6258f5610f83e264f31497b4",
      63: "5150d1772f50834a503e069a973fbd7c",
    };
    for (const [length, digest] of Object.entries(expected)) {
      // From another place in its buffer, too: nothing but the key counts.
      for (const before of [0, 3]) {
        hash.hash(Buffer.concat([Buffer.alloc(before, 9), message]), before, before + Number(length));
        assert.equal(Buffer.from(hash.words.buffer).toString("hex"), digest);
      }
    }
  });

  test("is another one with another secret, and for a key that is one byte longer", () => {
    const digests = [random.bytes(16), random.bytes(16)].flatMap((secret) => {
      const hash = new KeyHash(secret);
      return [0, 1, 7, 8, 9, 16].map((length) => {
        hash.hash(Buffer.alloc(32), 0, length);
        return hash.words.join();
      });
    });
    assert.equal(new Set(digests).size, digests.length);
  });
});

describe("a key map", () => {
  test("tells what a map of strings tells, while it grows and when it is emptied", () => {
    const map = new KeyMap(random.bytes(16), 1024 * KiB);
    for (const offsetBase of [0, 2 ** 40, 2 ** 53 - 30_000]) {
      map.clear();
      const dumb = new Map<string, number>();
      for (let i = 0; i < 20_000; i += 1) {
        const key = `key ${random.integer(8_000)}`;
        const bytes = Buffer.from(key);
        assert.ok(map.put(bytes, 0, bytes.length, offsetBase + i));
        dumb.set(key, offsetBase + i);
      }
      assert.equal(map.count, dumb.size);
      for (let i = 0; i < 9_000; i += 1) {
        const bytes = Buffer.from(`key ${i}`);
        assert.equal(map.newestOffset(bytes, 0, bytes.length), dumb.get(`key ${i}`) ?? -1);
      }
    }
  });

  test("grows in steps where it is told how many keys come, and holds the same", async () => {
    const map = new KeyMap(random.bytes(16), 4 * 1024 * KiB);
    const keys = Array.from({ length: 90_000 }, (_, i) => Buffer.from(`key ${i}`));
    let turns = 0;
    const takeTurn = async (): Promise<void> => void (turns += 1);
    for (const [i, key] of keys.entries()) {
      if (i % 10_000 === 0) await map.makeRoom(10_000, takeTurn);
      const before = turns;
      assert.ok(map.put(key, 0, key.length, i));
      assert.equal(turns, before);
    }
    assert.ok(keys.every((key, i) => map.newestOffset(key, 0, key.length) === i));
    // From 1024 slots, a step for each 16,384 of those that are left: 1024 to 16,384 one each, 2 and 4 for the next two.
    assert.equal(turns, 5 + 2 + 4);
    await map.makeRoom(Number.MAX_SAFE_INTEGER, takeTurn);
    assert.equal(turns, 5 + 2 + 4);
  });

  test("takes as many keys as three quarters of its bytes hold, newer offsets of those too, and no other key", () => {
    for (const [maxBytes, room] of [
      [1 * KiB, 24],
      [64 * keySlotBytes, 48],
      [64 * keySlotBytes - 1, 24],
      [4096 * keySlotBytes, 3072],
      [1, 1],
    ] as const) {
      const map = new KeyMap(random.bytes(16), maxBytes);
      const keys = Array.from({ length: room + 1 }, (_, i) => Buffer.from(`${i}`));
      const puts = keys.map((key, i) => map.put(key, 0, key.length, i));
      assert.deepEqual([puts.indexOf(false), map.count], [room, room]);
      const first = keys[0] ?? assert.fail();
      assert.ok(map.put(first, 0, first.length, 1000));
      assert.equal(map.newestOffset(first, 0, first.length), 1000);
      const last = keys.at(-1) ?? assert.fail();
      assert.equal(map.newestOffset(last, 0, last.length), -1);
    }
  });
});
