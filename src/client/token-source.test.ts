import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { serve } from "../grpc/index.ts";
import { encodeListTopicsResponse } from "../wire/topic-message.ts";
import { bytesMethod, GrpcPair } from "../../test/grpc-pair.ts";
import { connect } from "./index.ts";
import { checkTokenSource, takeToken } from "./token-source.ts";

describe("a client's token", () => {
  test("goes with each call, as it is at that time", async () => {
    const shown: (string | undefined)[] = [];
    await using node = await GrpcPair.open({
      methods: [
        serve(bytesMethod("/log.v1.Topics/ListTopics", "unary"), (_, call) => {
          shown.push(call.metadata.get("authorization"));
          return encodeListTopicsResponse([]);
        }),
      ],
    });
    let turn = 0;
    await using client = connect(node.address, { token: async () => `token-${(turn += 1)}` });
    await client.listTopics();
    await client.listTopics();
    await using fixed = connect(node.address, { token: "fixed" });
    await fixed.listTopics();
    await using nobody = connect(node.address);
    await nobody.listTopics();
    assert.deepEqual(shown, ["Bearer token-1", "Bearer token-2", "Bearer fixed", undefined]);
  });

  test("that is none is refused, and never told", async () => {
    for (const token of ["", "two words", "Bearer x", "x\n", "é"]) {
      const isSilent = (error: Error): boolean => token === "" || !JSON.stringify([error.message, error]).includes(token);
      assert.throws(() => checkTokenSource(token), isSilent);
      assert.throws(() => connect("127.0.0.1:8000", { token }), { code: "INVALID_ARGUMENT" });
      await assert.rejects(
        takeToken(() => token),
        isSilent,
      );
      await assert.rejects(
        takeToken(() => token),
        { code: "UNAUTHENTICATED", details: { outcome: "not-appended" } },
      );
    }
    const failing = takeToken(() => Promise.reject(new Error("no network")));
    await assert.rejects(failing, { code: "UNAUTHENTICATED", message: /the function that gives the token failed/ });
  });

  test("of a function that fails isn't waited for by what is produced", async () => {
    await using node = await GrpcPair.open({ methods: [] });
    await using client = connect(node.address, { token: () => Promise.reject(new Error("no network")) });
    await using producer = client.producer({ topic: "orders", partition: 0 });
    await assert.rejects(producer.send({ value: "x" }), { code: "UNAUTHENTICATED" });
  });
});
