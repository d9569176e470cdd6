import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { GroupReplica } from "../group/group-replica.ts";
import type { GroupSet } from "../group/group-set.ts";
import type { PeerIdentity } from "../peer-network.ts";
import type { ClusterIdentity } from "./cluster-identity.ts";
import { answerPeerQuestion } from "./peer-questions.ts";

const clusterId = "c".repeat(32);
const from: PeerIdentity = {
  clusterId,
  nodeId: "b",
  storageId: "b".repeat(32),
  bootCounter: 1,
  life: "1234567890abcdef",
  address: "b:1",
};

describe("what a node answers", () => {
  const identity = { record: { state: { clusterId } } } as unknown as ClusterIdentity;
  const groups = {
    answerCopy: (node: string, kind: string) => Promise.resolve(Buffer.from(`${kind} of ${node}`)),
  } as unknown as GroupSet<GroupReplica>;
  const ask = async (kind: string, group: string, peer = from): Promise<string> => {
    const body = Buffer.from(JSON.stringify({ group, term: 3 }));
    const question = { from: peer, standing: { kind: "outsider" }, kind, body, signal: new AbortController().signal } as const;
    return (await answerPeerQuestion(question, { identity, groups, catalog: undefined })).toString();
  };

  test("one that leads group 0 and isn't in the catalog yet may have this node catch up with that, and with nothing else", async () => {
    assert.equal(await ask("group/catch-up", clusterId), "group/catch-up of b");
    const isRefused = { code: "PEER_REFUSED", message: /isn't known to be of this cluster/ };
    await assert.rejects(ask("group/catch-up", "00000000-0000-4000-8000-000000000001"), isRefused);
    await assert.rejects(ask("group/fetch", clusterId), isRefused);
    await assert.rejects(ask("group/status", clusterId), isRefused);
    await assert.rejects(ask("group/catch-up", clusterId, { ...from, clusterId: undefined }), isRefused);
  });
});
