import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ProglogError } from "../base/error.ts";
import { peerRefusalMaxBytes } from "../base/cluster-limits.ts";
import { decodePeerHello } from "./peer-hello.ts";
import { decodeMessages } from "./peer-messages.ts";
import {
  decodeAnswer,
  decodeCancel,
  decodeQuestion,
  decodeRefusal,
  encodeNumber,
  encodeQuestionHead,
  encodeRefusal,
} from "./peer-question.ts";

describe("questions between nodes", () => {
  test("they have these bytes", () => {
    assert.equal(encodeQuestionHead(258, "leaders").toString("hex"), "02010000076c656164657273");
    assert.equal(encodeNumber(258).toString("hex"), "02010000");
    assert.equal(
      encodeRefusal(1, new ProglogError("NOT_LEADER", "Cannot change", { details: { leaderId: "c" } })).toString("latin1"),
      '\x01\0\0\0{"code":"NOT_LEADER","message":"Cannot change","details":{"leaderId":"c"}}',
    );
  });

  test("a question, an answer and a cancel are read as they were written", () => {
    const numbers = fc.integer({ min: 1, max: 2 ** 32 - 1 });
    fc.assert(
      fc.property(numbers, fc.string({ maxLength: 60 }), fc.uint8Array(), (number, kind, bytes) => {
        const body = Buffer.from(bytes);
        assert.deepEqual(decodeQuestion(Buffer.concat([encodeQuestionHead(number, kind), body])), { number, kind, body });
        assert.deepEqual(decodeAnswer(Buffer.concat([encodeNumber(number), body])), { number, body });
        assert.equal(decodeCancel(encodeNumber(number)), number);
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  test("a refusal keeps code, message, hint and details", () => {
    const value = fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null));
    const names = fc.string({ maxLength: 20 }).filter((name) => name !== "__proto__");
    fc.assert(
      fc.property(
        fc.string(),
        fc.option(fc.string(), { nil: undefined }),
        fc.dictionary(names, value),
        (message, hint, details) => {
          const error = new ProglogError("NOT_LEADER", message, { ...(hint === undefined ? {} : { hint }), details });
          const { number, error: told } = decodeRefusal(encodeRefusal(7, error));
          assert.equal(number, 7);
          assert.deepEqual([told.code, told.message, told.hint], ["NOT_LEADER", message, hint]);
          assert.deepEqual({ ...told.details }, { ...details });
        },
      ),
      { seed: 1, numRuns: 300 },
    );
  });

  test("a code of a newer version is INTERNAL and named, and details that are no plain values are left out", () => {
    const payload = Buffer.from(
      '\0\0\0\0{"code":"__proto__","message":"m","hint":3,"details":{"a":[1],"b":{},"c":1,"__proto__":2}}',
    );
    const { error } = decodeRefusal(payload);
    assert.equal(error.code, "INTERNAL");
    assert.equal(error.hint, undefined);
    assert.equal(JSON.stringify(error.details), '{"c":1,"__proto__":2,"peerCode":"__proto__"}');
  });

  test("a refusal of any size stays within its limit: texts are cut, and details left out that don't fit", () => {
    const error = new ProglogError("INTERNAL", "\0".repeat(100_000), {
      hint: "é".repeat(100_000),
      details: { a: "x".repeat(20_000) },
    });
    const bytes = encodeRefusal(1, error);
    assert.ok(bytes.length <= peerRefusalMaxBytes);
    const told = decodeRefusal(bytes).error;
    assert.match(told.message, /^\0{1000}…$/);
    assert.deepEqual(told.details, {});
    const fits = new ProglogError("INTERNAL", "m", { details: { a: "x".repeat(peerRefusalMaxBytes - 4 - 52) } });
    assert.equal(encodeRefusal(1, fits).length, peerRefusalMaxBytes);
    const beyond = new ProglogError("INTERNAL", "m", { details: { a: "x".repeat(peerRefusalMaxBytes - 4 - 51) } });
    assert.deepEqual(decodeRefusal(encodeRefusal(1, beyond)).error.details, {});
    assert.equal(decodeRefusal(encodeRefusal(1, fits)).error.details["a"], fits.details["a"]);
  });

  test("what is none is refused", () => {
    const refused = { code: "PEER_REFUSED" };
    assert.throws(() => decodeQuestion(encodeQuestionHead(0, "k")), refused);
    assert.throws(() => decodeQuestion(encodeQuestionHead(1, "kind").subarray(0, -1)), refused);
    assert.throws(() => decodeAnswer(encodeNumber(0)), refused);
    assert.throws(() => decodeCancel(Buffer.alloc(5, 1)), refused);
    for (const json of ["", "{", "3", "null", "[]", '{"code":"INTERNAL"}', '{"code":1,"message":"m"}', '"\xff"'])
      assert.throws(() => decodeRefusal(Buffer.from(`\x01\0\0\0${json}`, "latin1")), refused, json);
  });
});

test("whatever bytes come from a peer, they are read or refused with a code", () => {
  const ends = { from: "a", fromStorage: "s", to: "b" };
  const readers = [
    decodePeerHello,
    decodeQuestion,
    decodeAnswer,
    decodeCancel,
    decodeRefusal,
    (bytes: Buffer) => decodeMessages(bytes, ends),
  ];
  // Lengths that fit often enough for what lies behind them to be read.
  const pieces = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.nat(60).map((length) => Uint8Array.of(length, 0, 0, 0)),
    fc.nat(60).map((length) => Uint8Array.of(length)),
    fc.constantFrom(...[0x05, 0x15, 0x25, 0x45, 0x65, 0x89].map((first) => Uint8Array.of(first))),
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 8 }), (drawn) => {
      const bytes = Buffer.concat(drawn);
      for (const read of readers)
        try {
          read(bytes);
        } catch (error) {
          assert.equal((error as { code?: unknown }).code, "PEER_REFUSED", String(error));
        }
    }),
    { seed: 1, numRuns: process.env["PROVE"] === undefined ? 5_000 : 500_000 },
  );
});
