import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { addToWindow, emptyWindow, freeWindow, windowCount } from "./byte-window.ts";

describe("a byte window", () => {
  test("counts what is in it as a plain list does, through hundreds of items", () => {
    const step = fc.record({ count: fc.integer({ min: 1, max: 90 }), free: fc.integer({ min: 0, max: 120 }) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const window = emptyWindow();
        let dumb: { lastIndex: number; bytes: number }[] = [];
        let lastIndex = 0;
        let freed = 0;
        for (const { count, free } of steps) {
          for (let left = count; left > 0; left -= 1) {
            lastIndex += 1 + (left % 3);
            addToWindow(window, lastIndex, left);
            dumb.push({ lastIndex, bytes: left });
          }
          freed += free;
          freeWindow(window, freed);
          dumb = dumb.filter((item) => item.lastIndex > freed);
          assert.equal(windowCount(window), dumb.length);
          assert.equal(
            window.bytes,
            dumb.reduce((sum, { bytes }) => sum + bytes, 0),
          );
          assert.deepEqual(window.items.slice(window.head), dumb);
        }
      }),
    );
  });
});
