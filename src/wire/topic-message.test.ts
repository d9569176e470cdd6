import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { toProtoError } from "./proto-error.ts";
import { ProglogError } from "../base/error.ts";
import {
  decodeAlterTopicRequest,
  decodeCreateTopicRequest,
  decodeGetServersResponse,
  decodeListTopicsResponse,
  decodeTopicNameRequest,
  decodeTopicResponse,
  emptyShapes,
  encodeAlterTopicRequest,
  encodeCreateTopicRequest,
  encodeGetServersResponse,
  encodeListTopicsResponse,
  encodeTopicNameRequest,
  encodeTopicResponse,
  sameShapes,
} from "./topic-message.ts";

describe("topic messages", () => {
  test("each comes back as it was", () => {
    const error = toProtoError(new ProglogError("LOG_CORRUPT", "Cannot open the log", { details: { index: 3 } }));
    const partition = { partition: 1, uuid: "u", leaderId: "n1", leaderRpcAddr: "127.0.0.1:8000", term: 7 };
    const [leader, learner] = [
      { nodeId: "n1", rpcAddr: "127.0.0.1:8000", isVoter: true, isInSync: true, lag: 0 },
      { nodeId: "n2", rpcAddr: "", isVoter: false, isInSync: false },
    ];
    const figures = { logEndOffset: 0, storeBytes: 4096, segments: 2, queuedBytes: 0, damages: 0, dirtyRatio: 0.5 };
    const topic = {
      name: "orders",
      uuid: "t",
      createdAt: 1_760_000_000_000,
      replicationFactor: 3,
      settings: { retentionMs: "60000" },
      effectiveSettings: { retentionMs: "60000", cleanup: "delete" },
      partitions: [
        {
          ...partition,
          state: "open",
          logStartOffset: 3,
          highWatermark: Number.MAX_SAFE_INTEGER,
          replicas: [leader, learner],
          ...figures,
        },
        { ...partition, state: "failed", logStartOffset: 0, highWatermark: 0, replicas: [], error },
      ],
    };
    assert.deepEqual(decodeTopicResponse(encodeTopicResponse(topic)), topic);
    const created = { name: "a", partitionCount: 3, settings: { cleanup: "compact" }, replicationFactor: 3 };
    assert.deepEqual(decodeCreateTopicRequest(encodeCreateTopicRequest(created)), created);
    const altered = {
      name: "a",
      settings: { deepCheck: "true" },
      unset: ["segmentMs"],
      partitionCount: 0,
      replicationFactor: 3,
    };
    assert.deepEqual(decodeAlterTopicRequest(encodeAlterTopicRequest(altered)), altered);
    assert.equal(decodeTopicNameRequest(encodeTopicNameRequest("a")), "a");
    const topics = [{ name: "a", partitionCount: 1, createdAt: 5 }];
    assert.deepEqual(decodeListTopicsResponse(encodeListTopicsResponse(topics)), topics);
    const servers = [{ id: "n1", rpcAddr: "127.0.0.1:8000", isLeader: true, state: "up", storageId: "5a", isVoter: true }];
    assert.deepEqual(decodeGetServersResponse(encodeGetServersResponse(servers)), servers);
  });

  test("messages that share a codec have the same fields", () => {
    const fields = (schema: (typeof sameShapes)[number][number]): string[] =>
      schema.fields.map(
        (field) => `${field.number} ${field.name} ${field.fieldKind} ${field.message?.typeName ?? field.scalar}`,
      );
    for (const [one, other] of sameShapes) assert.deepEqual(fields(one), fields(other));
    for (const schema of emptyShapes) assert.deepEqual(schema.fields, []);
  });

  test("garbage is a coded error", () => {
    const garbage = Buffer.from([0x0a, 0xff, 0xff]);
    for (const decode of [
      decodeTopicResponse,
      decodeCreateTopicRequest,
      decodeAlterTopicRequest,
      decodeTopicNameRequest,
      decodeListTopicsResponse,
      decodeGetServersResponse,
    ]) {
      assert.throws(() => decode(garbage), { code: "INVALID_ARGUMENT", message: /^Cannot read the message / });
    }
  });
});
