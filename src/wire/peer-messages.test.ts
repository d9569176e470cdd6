import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { peerHeadsMaxBytes } from "../base/limits.ts";
import type { Message } from "../raft/message.ts";
import { decodeMessages, encodeMessages, headMaxBytesOf, type WireEnds, type WireMessage } from "./peer-messages.ts";

const ends: WireEnds = { from: "a", fromStorage: "00ff", to: "b" };
const envelope = { from: "a", fromStorage: "00ff/7", to: "b", term: 300 } as const;
const groupId = "00112233-4455-6677-8899-aabbccddeeff";
const idHex = "00112233445566778899aabbccddeeff";

/** Each kind with the bytes of its head, so that a change of the protocol isn't made unawares. */
const golden: readonly (readonly [message: Message, head: string])[] = [
  [{ kind: "pre-vote-request", ...envelope, lastIndex: 1000, lastTerm: 2 }, `01${idHex}07ac02e80702`],
  [{ kind: "pre-vote-response", ...envelope, isGranted: true }, `82${idHex}07ac02`],
  [{ kind: "vote-request", ...envelope, lastIndex: 1, lastTerm: 1, isTransfer: true }, `83${idHex}07ac020101`],
  [{ kind: "vote-response", ...envelope, isGranted: false }, `04${idHex}07ac02`],
  [
    { kind: "append", ...envelope, prevIndex: 127, prevTerm: 3, entries: [], commitIndex: 128 },
    `05${idHex}07ac027f0380010200c801`,
  ],
  [{ kind: "append-accepted", ...envelope, matchIndex: 5, agreedIndex: 6 }, `06${idHex}07ac020506`],
  [{ kind: "append-rejected", ...envelope, prevIndex: 9, hintIndex: 8, hintTerm: 7 }, `07${idHex}07ac02090807`],
  [{ kind: "commit-notice", ...envelope, commitIndex: 4 }, `08${idHex}07ac0204`],
  [{ kind: "heartbeat", ...envelope, commitIndex: 4, matchIndex: 3, round: 2 }, `09${idHex}07ac02040302`],
  [{ kind: "heartbeat-response", ...envelope, round: 2, hasForgotten: true }, `8a${idHex}07ac0202`],
  [{ kind: "newer-term", ...envelope }, `0b${idHex}07ac02`],
  [{ kind: "timeout-now", ...envelope }, `0c${idHex}07ac02`],
  [{ kind: "read-request", ...envelope, id: 11 }, `0d${idHex}07ac020b`],
  [{ kind: "read-response", ...envelope, id: 11, index: Number.MAX_SAFE_INTEGER }, `0e${idHex}07ac020bffffffffffffff0f`],
  [{ kind: "sleep-request", ...envelope, round: 3, commitIndex: 200 }, `0f0f${idHex}07ac0203c801`],
  [{ kind: "sleep-response", ...envelope, round: 3, isAgreed: true }, `8f10${idHex}07ac0203`],
  [{ kind: "removed", ...envelope, storageId: "11/2", membershipIndex: 9 }, `0f11${idHex}07ac020431312f3209`],
];

describe("messages between nodes", () => {
  for (const [message, head] of golden)
    test(`${message.kind} has these bytes`, () => {
      const frames = message.kind === "append" ? [Buffer.alloc(0), Buffer.alloc(200, "x")] : [];
      const encoded = encodeMessages([{ groupId, message, frames }], ends);
      assert.equal(encoded.head.toString("hex", 4), head);
      assert.equal(encoded.head.readUInt32LE(0), head.length / 2);
      assert.deepEqual(encoded.body, frames, "the entries are the very buffers");
      assert.deepEqual(decode(encoded), [{ groupId, message, frames }]);
    });

  test("whatever is sent together arrives as it was, in order", () => {
    fc.assert(
      fc.property(fc.array(wireMessages, { maxLength: 20 }), (messages) => {
        const encoded = encodeMessages(messages, ends);
        assert.deepEqual(decode(encoded), messages);
        assert.ok(encoded.head.length <= 4 + messages.reduce((sum, each) => sum + headMaxBytesOf(each), 0));
      }),
      { seed: 1, numRuns: 1_000 },
    );
  });

  test("a heartbeat of a group that has run for years takes 33 bytes, and one of a young group 22", () => {
    const bytesOf = (message: Message): number => encodeMessages([{ groupId, message, frames: [] }], ends).head.length - 4;
    const old = { kind: "heartbeat", ...envelope, commitIndex: 1e9, matchIndex: 1e9, round: 100_000 } as const;
    const young = { kind: "heartbeat", ...envelope, term: 1, commitIndex: 100, matchIndex: 100, round: 0 } as const;
    assert.deepEqual([bytesOf(old), bytesOf(young)], [33, 22]);
  });

  test("as many heartbeats as fit under the limit of heads are taken, and heads beyond it are refused", () => {
    const message = { kind: "newer-term", ...envelope } as const;
    const each = 20;
    const messages = Array.from({ length: Math.floor(peerHeadsMaxBytes / each) }, () => ({ groupId, message, frames: [] }));
    const { head } = encodeMessages(messages, ends);
    assert.equal(decodeMessages(head, ends).length, messages.length);
    assert.throws(() => encodeMessages([...messages, ...messages.slice(0, 1)], ends), { name: "AssertionError" });
    const beyond = Buffer.concat([head, head.subarray(4, 4 + each)]);
    beyond.writeUInt32LE(beyond.length - 4, 0);
    assert.throws(() => decodeMessages(beyond, ends), refused);
  });

  test("heads that end early, entries that are missing or left over, and kinds that aren't known are refused", () => {
    const message = { kind: "append", ...envelope, prevIndex: 0, prevTerm: 0, entries: [], commitIndex: 0 } as const;
    const { head, body } = encodeMessages([{ groupId, message, frames: [Buffer.alloc(10)] }], ends);
    const whole = Buffer.concat([head, ...body]);
    for (let length = 0; length < whole.length; length += 1)
      assert.throws(() => decodeMessages(whole.subarray(0, length), ends), refused);
    assert.throws(() => decodeMessages(Buffer.concat([whole, Buffer.alloc(1)]), ends), refused);
    for (const kind of [0x00, 0x0f, 0x35]) {
      const other = Buffer.from(whole);
      other[4] = kind;
      assert.throws(() => decodeMessages(other, ends), refused);
    }
    const huge = encodeMessages([{ groupId, message: { kind: "newer-term", ...envelope }, frames: [] }], ends).head;
    for (const number of ["ffffffffffffff10", "ffffffffffffff8f01", "8080808080808080"]) {
      const other = Buffer.concat([huge.subarray(0, -2), Buffer.from(number, "hex")]);
      other.writeUInt32LE(other.length - 4, 0);
      assert.throws(() => decodeMessages(other, ends), refused, number);
    }
  });

  test("a message of somebody else, or with entries that its kind has none of, is a mistake of ours", () => {
    const message = { kind: "newer-term", ...envelope } as const;
    for (const wrong of [
      { groupId, message: { ...message, from: "c" }, frames: [] },
      { groupId, message: { ...message, to: "c" }, frames: [] },
      { groupId, message, frames: [Buffer.alloc(1)] },
      { groupId, message: { ...message, term: 2 ** 53 }, frames: [] },
      { groupId, message: { ...message, term: -1 }, frames: [] },
    ])
      assert.throws(() => encodeMessages([wrong], ends), { name: "AssertionError" });
  });
});

const refused = { code: "PEER_REFUSED" };

function decode({ head, body }: { readonly head: Buffer; readonly body: readonly Buffer[] }): WireMessage[] {
  return decodeMessages(Buffer.concat([head, ...body]), ends);
}

const numbers = fc.oneof(fc.maxSafeNat(), fc.nat(300), fc.constantFrom(0, 127, 128, 2 ** 32, Number.MAX_SAFE_INTEGER));
const storages = fc.oneof(
  fc.maxSafeNat().map((incarnation) => `00ff/${incarnation}`),
  fc.constantFrom(
    "",
    "00ff",
    "00ff/",
    "00ff/01",
    "00ff/-0",
    "00ff/1e3",
    "00ff/9007199254740993",
    "00f/1",
    "x00ff/1",
    "00ff/ 1",
  ),
  fc.string({ maxLength: 40 }),
);
const groupIds = fc.oneof(
  fc.uuid(),
  fc.stringMatching(/^[0-9a-f]{32}$/),
  fc.constantFrom("", "0", idHex.toUpperCase(), groupId.toUpperCase(), "é".repeat(127)),
  fc.string({ maxLength: 60 }),
);
const wireMessages: fc.Arbitrary<WireMessage> = fc
  .record({
    groupId: groupIds,
    message: fc.constantFrom(...golden.map(([message]) => message)),
    fromStorage: storages,
    flag: fc.boolean(),
    values: fc.array(numbers, { minLength: 4, maxLength: 4 }),
    frames: fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 5 }),
  })
  .map((drawn) => {
    let used = 0;
    const fields = Object.entries(drawn.message).map(([name, value]: [string, unknown]) => {
      if (typeof value === "boolean") return [name, drawn.flag];
      return [name, typeof value === "number" ? drawn.values[used++] : value];
    });
    const message = { ...(Object.fromEntries(fields) as Message), fromStorage: drawn.fromStorage };
    const frames = message.kind === "append" ? drawn.frames.map((frame) => Buffer.from(frame)) : [];
    return { groupId: drawn.groupId, message, frames };
  });
