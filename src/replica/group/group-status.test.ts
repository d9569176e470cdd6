import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isPeerInSync, type PeerStatus } from "./group-status.ts";

describe("a member of a group is in sync", () => {
  const peer: PeerStatus = { nodeId: "b", matchIndex: 7, flow: "replicate", isActive: true, lostIndex: 0 };

  test("as long as it answers and gets what comes", () => {
    assert.equal(isPeerInSync(peer, 9), true);
    assert.equal(isPeerInSync({ ...peer, isActive: false }, 9), false);
    assert.equal(isPeerInSync({ ...peer, flow: "probe" }, 9), false);
    assert.equal(isPeerInSync({ ...peer, flow: "catch-up" }, 9), false);
  });

  test("when it has everything, though nothing was sent to it since it was out of reach", () => {
    assert.equal(isPeerInSync({ ...peer, matchIndex: 9, flow: "probe" }, 9), true);
    assert.equal(isPeerInSync({ ...peer, matchIndex: 9, isActive: false }, 9), true);
  });
});
