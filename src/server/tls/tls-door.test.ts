import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../../sim/clock.ts";
import type { Clock } from "../../base/clock.ts";
import { silentLogger } from "../../base/logger.ts";
import { handshakesPerTurn } from "../../base/security-limits.ts";
import { parseConfig } from "../config.ts";
import { TlsDoor } from "./tls-door.ts";

/** Turns that go when they are told to. */
function steppedDoor(): { readonly door: TlsDoor; readonly turn: () => Promise<void> } {
  const turns: (() => void)[] = [];
  const clock: Clock = { ...createVirtualClock(), turn: () => new Promise((resolve) => void turns.push(resolve)) };
  const turn = async (): Promise<void> => {
    for (const resolve of turns.splice(0)) resolve();
    // What waited for it goes on in the turns of promises behind this one.
    for (let step = 0; step < 5; step += 1) await Promise.resolve();
  };
  return { door: new TlsDoor(parseConfig(), { clock, logger: silentLogger }), turn };
}

describe("handshakes of many at once", () => {
  test("begin so many a turn, in their order, though each comes by itself", async () => {
    const { door, turn } = steppedDoor();
    const begun: number[] = [];
    const count = 2 * handshakesPerTurn + 2;
    for (let number = 0; number < count; number += 1) door.begin(() => begun.push(number));
    assert.deepEqual(begun, [0], "the first begins at once");
    assert.equal(door.waitingCount, count - 1);
    await turn();
    assert.equal(begun.length, 1 + handshakesPerTurn);
    await turn();
    await turn();
    assert.deepEqual(
      begun,
      Array.from({ length: count }, (_, number) => number),
    );
    assert.equal(door.waitingCount, 0);
    door.close();
  });

  test("that one after the other comes later begins at once", async () => {
    const { door, turn } = steppedDoor();
    let begun = 0;
    for (let number = 1; number <= 3; number += 1) {
      door.begin(() => (begun += 1));
      assert.equal(begun, number);
      await turn();
    }
    door.close();
  });
});
