import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { EventQueue } from "./event-queue.ts";
import { fairWeather, Network, type NetworkWeather } from "./network.ts";
import { createSeededRandom } from "./random.ts";

describe("a simulated network", () => {
  test("in fair weather carries everything once, and not all in order", () => {
    const arrived = send({}, 200);
    assert.deepEqual(
      arrived.toSorted((a, b) => a - b),
      Array.from({ length: 200 }, (_, i) => i),
    );
    assert.notDeepEqual(
      arrived,
      arrived.toSorted((a, b) => a - b),
    );
  });

  test("keeps the order where it is to, whatever is late", () => {
    const arrived = send({ keepsOrder: true, lateChance: 0.3, delayMeanMs: 20 }, 200);
    assert.deepEqual(
      arrived,
      arrived.toSorted((a, b) => a - b),
    );
  });

  test("loses, doubles and delays as much as its weather says", () => {
    assert.equal(send({ lossChance: 1 }, 50).length, 0);
    assert.equal(send({ doubleChance: 1 }, 50).length, 100);
    const some = send({ lossChance: 0.3 }, 1_000).length;
    assert.ok(some > 600 && some < 800, `${some}`);
  });

  test("a link that is cut twice is whole when it was mended twice, and the other direction always was", () => {
    const network = new Network(new EventQueue(), createSeededRandom("cuts"));
    network.cut("a", "b");
    network.cut("a", "b");
    network.mend("a", "b");
    assert.deepEqual([network.isCut("a", "b"), network.isCut("b", "a")], [true, false]);
    network.mend("a", "b");
    assert.equal(network.isCut("a", "b"), false);
    network.cut("a", "b");
    network.healAll();
    assert.equal(network.isCut("a", "b"), false);
  });

  test("what is on its way when a link is cut doesn't arrive", () => {
    const queue = new EventQueue();
    const network = new Network(queue, createSeededRandom("way"));
    let count = 0;
    network.send("a", "b", () => (count += 1));
    network.cut("a", "b");
    while (queue.runNext(1_000));
    assert.deepEqual([count, network.lostCount, network.sentCount], [0, 1, 1]);
  });
});

function send(weather: Partial<NetworkWeather>, count: number): number[] {
  const queue = new EventQueue();
  const network = new Network(queue, createSeededRandom("weather"));
  network.weather = { ...fairWeather, ...weather };
  const arrived: number[] = [];
  for (let i = 0; i < count; i += 1) network.send("a", "b", () => arrived.push(i));
  while (queue.runNext(Number.POSITIVE_INFINITY));
  return arrived;
}
