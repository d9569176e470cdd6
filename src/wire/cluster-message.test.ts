import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  decodeGetStatusRequest,
  decodeGetStatusResponse,
  decodeMovePartitionRequest,
  decodeAddNodeRequest,
  decodeAddNodeResponse,
  decodeRemoveNodeRequest,
  decodeRemoveNodeResponse,
  decodeTransferLeadershipRequest,
  decodeTransferLeadershipResponse,
  encodeGetStatusRequest,
  encodeGetStatusResponse,
  encodeMovePartitionRequest,
  encodeAddNodeRequest,
  encodeAddNodeResponse,
  encodeRemoveNodeRequest,
  encodeRemoveNodeResponse,
  encodeTransferLeadershipRequest,
  encodeTransferLeadershipResponse,
} from "./cluster-message.ts";

describe("cluster messages", () => {
  test("each comes back as it was", () => {
    const node = { id: "a", rpcAddr: "a:8000", isLeader: true, state: "up", storageId: "5a", isVoter: true };
    const leader = { nodeId: "a", rpcAddr: "a:8000", isVoter: true, isInSync: true, lag: 0 };
    const learner = { nodeId: "b", rpcAddr: "", isVoter: false, isInSync: false, lag: 5_000 };
    const group = { uuid: "u", partition: 0, leaderId: "a", term: 2 ** 32 - 1, isUnderReplicated: false };
    const status = {
      clusterId: "c",
      nodes: [{ ...node, replicaCount: 3, leaderCount: 1 }],
      groups: [
        { ...group, topic: "", replicas: [leader] },
        { ...group, topic: "orders", replicas: [leader, learner], move: { replicas: ["a", "b"], phase: "catching-up" } },
      ],
      groupCount: 7,
      leaderlessCount: 1,
      underReplicatedCount: 2,
      movingCount: 3,
    };
    assert.deepEqual(decodeGetStatusResponse(encodeGetStatusResponse(status)), status);
    const asked = { troubledOnly: true };
    assert.deepEqual(decodeGetStatusRequest(encodeGetStatusRequest(asked)), asked);
    const removal = { name: "a", force: true };
    assert.deepEqual(decodeRemoveNodeRequest(encodeRemoveNodeRequest(removal)), removal);
    assert.deepEqual(decodeRemoveNodeResponse(encodeRemoveNodeResponse({ isRemoved: true })), { isRemoved: true });
    assert.deepEqual(decodeAddNodeRequest(encodeAddNodeRequest({ name: "b" })), { name: "b" });
    assert.deepEqual(decodeAddNodeResponse(encodeAddNodeResponse({ wasDraining: true })), { wasDraining: true });
    const transfer = { topic: "orders", partition: 3, to: "b" };
    assert.deepEqual(decodeTransferLeadershipRequest(encodeTransferLeadershipRequest(transfer)), transfer);
    const leading = { leaderId: "b" };
    assert.deepEqual(decodeTransferLeadershipResponse(encodeTransferLeadershipResponse(leading)), leading);
    const move = { topic: "orders", partition: 3, replicas: ["b", "c"] };
    assert.deepEqual(decodeMovePartitionRequest(encodeMovePartitionRequest(move)), move);
  });

  test("a topic that isn't named is the default one", () => {
    assert.equal(decodeTransferLeadershipRequest(Buffer.alloc(0)).topic, "default");
    assert.equal(decodeMovePartitionRequest(Buffer.alloc(0)).topic, "default");
  });

  test("garbage, and a number beyond 2^53-1, is a coded error", () => {
    const garbage = Buffer.from([0x0a, 0xff, 0xff]);
    for (const decode of [
      decodeGetStatusRequest,
      decodeGetStatusResponse,
      decodeAddNodeRequest,
      decodeAddNodeResponse,
      decodeRemoveNodeRequest,
      decodeRemoveNodeResponse,
      decodeTransferLeadershipRequest,
      decodeTransferLeadershipResponse,
      decodeMovePartitionRequest,
    ]) {
      assert.throws(() => decode(garbage), { code: "INVALID_ARGUMENT", message: /^Cannot read the message / });
    }
    // groups 3 { replicas 6 { lag 5: 2^63 } }
    const lag = [0x28, ...Array.from({ length: 9 }, () => 0x80), 0x01];
    const tooFar = Buffer.from([0x1a, lag.length + 2, 0x32, lag.length, ...lag]);
    assert.throws(() => decodeGetStatusResponse(tooFar), { code: "INVALID_ARGUMENT", message: /beyond 2\^53-1/ });
  });
});
