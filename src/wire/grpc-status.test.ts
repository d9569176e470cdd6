import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ProglogError } from "../base/error.ts";
import { fromGrpcStatus, toGrpcStatus } from "./grpc-status.ts";
import { fromProblem, toProblem } from "./problem.ts";

describe("grpc status", () => {
  test("an error comes back with its code, text, hint, outcome and details", () => {
    const original = new ProglogError("CONDITION_FAILED", "Cannot append at offset 3: the log ends at 5", {
      hint: "Read on, and decide again.",
      details: { expectedOffset: 3, logEndOffset: 5 },
    });
    const status = toGrpcStatus(original);
    assert.equal(status.code, 9);
    assert.equal(status.message, original.message);
    const back = fromGrpcStatus(status);
    assert.equal(back.code, original.code);
    assert.equal(back.hint, original.hint);
    assert.deepEqual(back.details, { ...original.details, outcome: "not-appended" });
  });

  test('who leads instead travels with "not the leader", in a status and in a problem', () => {
    const details = { leaderId: "node-2", leaderRpcAddr: "10.0.0.2:8000" };
    for (const [code, outcome] of [
      ["NOT_LEADER", "not-appended"],
      ["LEADERSHIP_LOST", "unknown"],
    ] as const) {
      const error = new ProglogError(code, "Cannot append to partition 0 of topic orders: node-2 leads it", { details });
      assert.deepEqual(fromGrpcStatus(toGrpcStatus(error)).details, { ...details, outcome });
      assert.deepEqual(fromProblem(JSON.parse(JSON.stringify(toProblem(error))))?.details, { ...details, outcome });
    }
  });

  test("an offset that isn't there is status 11, with the text and the detail that the book's clients look for", () => {
    const error = new ProglogError("OFFSET_OUT_OF_RANGE", "Cannot read offset 7: the log ends at 3", {
      details: { offset: 7 },
    });
    const { code, details } = toGrpcStatus(error);
    assert.equal(code, 11);
    const text = details.toString("latin1");
    assert.ok(text.includes("type.googleapis.com/google.rpc.LocalizedMessage"));
    assert.ok(text.includes("en-US"));
    assert.ok(text.includes("The requested offset is outside of the log: 7"));
  });

  test("what isn't an error of ours is INTERNAL and keeps its message to itself", () => {
    const status = toGrpcStatus(new Error("/secret"));
    assert.equal(status.code, 13);
    assert.ok(!status.message.includes("secret") && !status.details.includes("secret"));
  });

  test("a foreign status says what it can, and that an append may have happened", () => {
    const codes = Array.from({ length: 17 }, (_, code) => fromGrpcStatus({ code, message: "no" }).code);
    assert.equal(codes[14], "UNAVAILABLE");
    assert.equal(codes[4], "TIMEOUT");
    assert.equal(codes[11], "OFFSET_OUT_OF_RANGE");
    const strange = fromGrpcStatus({ code: 404, message: "offset out of range: 3" });
    assert.equal(strange.code, "INTERNAL");
    assert.deepEqual(strange.details, { grpcStatus: 404, outcome: "unknown" });
  });

  test("whatever the details are, the status is read", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        assert.equal(fromGrpcStatus({ code: 14, message: "no", details: Buffer.from(bytes) }).code, "UNAVAILABLE");
      }),
    );
    const { details } = toGrpcStatus(new ProglogError("DISK_FULL", "Cannot append"));
    for (let at = 0; at < details.length; at += 1) {
      const broken = Buffer.from(details);
      broken[at] = 0xff;
      assert.ok(fromGrpcStatus({ code: 8, message: "no", details: broken }) instanceof ProglogError);
    }
  });
});
