import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { PeerIdentity } from "../peer-network.ts";
import { PeerLiveness } from "./peer-liveness.ts";

const peer = (bootCounter: number, storageId = "s"): PeerIdentity => ({
  clusterId: "c",
  nodeId: "b",
  storageId,
  bootCounter,
  life: "1234567890abcdef",
  address: "b:1",
});

describe("the liveness of peers", () => {
  test("a node to which there is no way for a second is lost, once, and found when there is one", () => {
    const liveness = new PeerLiveness(1000);
    assert.deepEqual(liveness.connected(peer(1)), ["found"]);
    assert.deepEqual(liveness.tick(10_000), []);
    liveness.disconnected("b", 10_000);
    liveness.disconnected("b", 10_900);
    assert.deepEqual(liveness.tick(10_999), []);
    assert.deepEqual(liveness.tick(11_000), ["b"]);
    assert.deepEqual(liveness.tick(12_000), []);
    assert.deepEqual(liveness.lost, ["b"]);
    assert.deepEqual(liveness.connected(peer(1)), ["found"]);
    assert.deepEqual([liveness.lost, liveness.tick(99_000)], [[], []]);
  });

  test("a connection that is back at once loses nobody, unless another life is at its end", () => {
    const liveness = new PeerLiveness(1000);
    liveness.connected(peer(1));
    liveness.disconnected("b", 100);
    assert.deepEqual(liveness.connected(peer(1)), []);
    assert.deepEqual(liveness.connected(peer(2)), ["lost", "found"]);
    assert.deepEqual(liveness.connected(peer(2)), []);
    assert.deepEqual(liveness.connected(peer(2, "other disk")), ["lost", "found"]);
  });

  test("a node that was never there is lost after a second, too; one that is no member any more is forgotten", () => {
    const liveness = new PeerLiveness(1000);
    liveness.expect(["b", "c"], 0);
    assert.deepEqual(liveness.tick(1000), ["b", "c"]);
    assert.deepEqual(liveness.connected(peer(1)), ["found"]);
    liveness.expect(["b"], 2000);
    assert.deepEqual(liveness.lost, []);
    liveness.expect(["b", "d"], 2000);
    assert.deepEqual(liveness.tick(3000), ["d"]);
  });

  test("a node that was lost, then removed, and comes again under its name is found", () => {
    const liveness = new PeerLiveness(1000);
    liveness.expect(["b"], 0);
    liveness.connected(peer(1));
    liveness.disconnected("b", 1000);
    assert.deepEqual(liveness.tick(2000), ["b"]);
    liveness.expect([], 3000);
    assert.deepEqual(liveness.connected(peer(1, "other disk")), ["found"]);
    liveness.expect([], 4000);
    liveness.expect(["b"], 4000);
    assert.deepEqual(liveness.connected(peer(2, "other disk")), ["found"]);
  });
});
