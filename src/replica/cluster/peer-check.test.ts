import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isProglogError } from "../../base/error.ts";
import type { PeerIdentity } from "../peer-network.ts";
import { checkPeer, mayAsk, type PeerKnowledge, type PeerStanding } from "./peer-check.ts";

const life = "1234567890abcdef";

const known: PeerKnowledge = {
  self: { clusterId: hex(9), storageId: hex(1) },
  nodes: [
    { name: "a", storageId: hex(1), address: "a:8000" },
    { name: "b", storageId: hex(2), address: "b:8000" },
  ],
  bootCounters: new Map([[hex(2), { bootCounter: 4, life }]]),
  connected: [],
  mayLead: () => false,
};

const b: PeerIdentity = { clusterId: hex(9), nodeId: "b", storageId: hex(2), bootCounter: 4, life, address: "b:8000" };

describe("who introduces itself", () => {
  test("is a member by name and storage id, also from a new address", () => {
    assert.deepEqual(checkPeer(b, known), { kind: "member", movedFrom: undefined });
    assert.deepEqual(checkPeer({ ...b, address: "b2:8000" }, known), { kind: "member", movedFrom: "b:8000" });
  });

  test("is an outsider without a cluster id, before there is a cluster, and before the catalog has it", () => {
    assert.deepEqual(checkPeer({ ...b, clusterId: undefined }, known), { kind: "outsider" });
    assert.deepEqual(checkPeer(b, { ...known, self: { ...known.self, clusterId: undefined } }), { kind: "outsider" });
    assert.deepEqual(checkPeer({ ...b, nodeId: "c", storageId: hex(3) }, known), { kind: "outsider" });
  });

  test("may ask to join under a name that is taken, and is told so there", () => {
    assert.deepEqual(checkPeer({ ...b, clusterId: undefined, storageId: hex(3) }, known), { kind: "outsider" });
  });

  test("may be this node itself, before there is a cluster", () => {
    const self = { clusterId: undefined, storageId: hex(2) };
    assert.deepEqual(checkPeer({ ...b, clusterId: undefined }, { ...known, self }), { kind: "outsider" });
  });

  test("comes with a higher boot counter each time, from the same disk", () => {
    const connected = [b];
    assert.deepEqual(checkPeer({ ...b, bootCounter: 5, address: "b2:8000" }, { ...known, connected }).kind, "member");
    assert.deepEqual(checkPeer(b, { ...known, connected }).kind, "member");
  });

  test("may run from a copy of an empty directory as long as there is no cluster: the formation says so", () => {
    const self = { clusterId: undefined, storageId: hex(1) };
    const copy = { ...b, clusterId: undefined, life: "fedcba0987654321" };
    assert.deepEqual(checkPeer(copy, { ...known, self }), { kind: "outsider" });
  });

  test("is heard as an outsider with another directory than the catalog has, if it may lead group 0 and bring a newer one", () => {
    const renewed: PeerIdentity = { ...b, storageId: hex(3), bootCounter: 1 };
    const mayLead = (node: string): boolean => node === "b";
    assert.deepEqual(checkPeer(renewed, { ...known, mayLead }), { kind: "outsider" });
    const isRefused = { code: "PEER_REFUSED", message: /has another directory/ };
    assert.throws(() => checkPeer(renewed, { ...known, mayLead: (node) => node === "a" }), isRefused);
    assert.throws(() => checkPeer(renewed, { ...known, mayLead, connected: [b] }), isRefused, "the one it knows is there");
    const rolledBack = { ...known, mayLead, bootCounters: new Map([[hex(3), { bootCounter: 2, life }]]) };
    assert.throws(() => checkPeer(renewed, rolledBack), { code: "PEER_REFUSED", message: /an old copy/ });
  });

  const refused: readonly (readonly [string, string, PeerIdentity, Partial<PeerKnowledge>, RegExp])[] = [
    ["another cluster's node", "cluster", { ...b, clusterId: hex(8) }, {}, /belongs to cluster 0+8, and this node to 0+9/],
    ["another directory under a known name", "directory", { ...b, storageId: hex(3) }, {}, /has another directory/],
    ["a known directory under another name", "name", { ...b, nodeId: "z" }, {}, /that of b/],
    ["a directory that was rolled back", "rolled-back", { ...b, bootCounter: 3 }, {}, /started 3 times, and was once 4 times/],
    [
      "one rolled back by one start, and started once since",
      "rolled-back",
      { ...b, life: "fedcba0987654321" },
      {},
      /another process had start 4 of its directory: it is an old copy/,
    ],
    [
      "one rolled back to before it had a cluster",
      "rolled-back",
      { ...b, clusterId: undefined, bootCounter: 1 },
      {},
      /an old copy/,
    ],
    [
      "a copy of a connected node's directory",
      "copy",
      { ...b, address: "b2:8000", life: "fedcba0987654321" },
      { connected: [b] },
      /at b:8000 runs on a copy/,
    ],
    ["a copy of this node's directory", "copy", { ...b, nodeId: "a", storageId: hex(1) }, {}, /this node's, or a copy/],
  ];
  for (const [what, reason, peer, more, text] of refused)
    test(`is refused as ${what}`, () => {
      assert.throws(
        () => checkPeer(peer, { ...known, ...more }),
        (error) =>
          isProglogError(error, "PEER_REFUSED") &&
          text.test(error.message) &&
          error.hint !== undefined &&
          error.details["reason"] === reason,
      );
    });

  test("asks for formation as an outsider, and for anything as a member", () => {
    const outsider: PeerStanding = { kind: "outsider" };
    const member: PeerStanding = { kind: "member", movedFrom: undefined };
    assert.deepEqual(
      ["formation/probe", "formation/join", "group/status", "leaders"].map((kind) => [
        mayAsk(outsider, kind),
        mayAsk(member, kind),
      ]),
      [
        [true, true],
        [true, true],
        [false, true],
        [false, true],
      ],
    );
  });
});

function hex(number: number): string {
  return number.toString(16).padStart(32, "0");
}
