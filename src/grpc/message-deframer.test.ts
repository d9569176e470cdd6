import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { grpcAssemblyFastBytes, grpcAssemblyFastGrowth, grpcAssemblyStartBytes } from "../base/limits.ts";
import { KiB, MiB } from "../base/units.ts";
import { MessageDeframer } from "./message-deframer.ts";
import { frameMessage } from "./message-sender.ts";

function collect(maxBytes: number): { deframer: MessageDeframer; messages: { text: string; isCompressed: boolean }[] } {
  const messages: { text: string; isCompressed: boolean }[] = [];
  const deframer = new MessageDeframer(maxBytes, (message, isCompressed) =>
    messages.push({ text: message.toString("latin1"), isCompressed }),
  );
  return { deframer, messages };
}

function prefix(length: number, flag = 0): Buffer {
  const bytes = Buffer.from([flag, 0, 0, 0, 0]);
  bytes.writeUInt32BE(length, 1);
  return bytes;
}

describe("messages in a stream of bytes", () => {
  test("are found however the bytes are cut", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 }), fc.array(fc.nat(60)), (messages, cuts) => {
        const bytes = Buffer.concat(messages.map((message) => frameMessage(message, false)));
        const found = collect(100);
        let at = 0;
        for (const cut of cuts) {
          found.deframer.push(bytes.subarray(at, at + cut));
          at = Math.min(bytes.length, at + cut);
        }
        found.deframer.push(bytes.subarray(at));
        assert.deepEqual(
          found.messages.map(({ text }) => text),
          messages.map((message) => Buffer.from(message).toString("latin1")),
        );
        assert.equal(found.deframer.isInsideMessage, false);
        assert.equal(found.deframer.heldBytes, 0);
      }),
    );
  });

  test("say whether they are compressed", () => {
    const { deframer, messages } = collect(10);
    deframer.push(Buffer.concat([prefix(1, 1), Buffer.from("a"), prefix(1, 0), Buffer.from("b")]));
    assert.deepEqual(messages, [
      { text: "a", isCompressed: true },
      { text: "b", isCompressed: false },
    ]);
  });

  test("with an unknown flag are refused", () => {
    for (const flag of [2, 0x80, 255])
      assert.throws(() => collect(10).deframer.push(prefix(1, flag)), {
        status: "INTERNAL",
        message: new RegExp(`flag is ${flag}`),
      });
  });

  test("of the limit pass, and one byte more is refused by its length alone", () => {
    const { deframer, messages } = collect(10);
    deframer.push(Buffer.concat([prefix(10), Buffer.from("0123456789")]));
    assert.equal(messages[0]?.text, "0123456789");
    assert.throws(() => deframer.push(prefix(11)), {
      status: "RESOURCE_EXHAUSTED",
      message: "Cannot receive a message of 11 bytes: the limit is 10",
    });
    assert.throws(() => collect(4 * MiB).deframer.push(prefix(0xffff_ffff)), { status: "RESOURCE_EXHAUSTED" });
  });

  test("hold little more memory than came of them, whatever their length says: twice as much beyond a few frames", () => {
    const { deframer, messages } = collect(4 * MiB);
    deframer.push(prefix(4 * MiB));
    assert.ok(deframer.isInsideMessage);
    let received = 0;
    for (const piece of [1, 1, 100, 1 * KiB, 4 * KiB, 60 * KiB, 10 * KiB, 200 * KiB, MiB]) {
      deframer.push(Buffer.alloc(piece, "x"));
      received += piece;
      const fastBytes = Math.min(grpcAssemblyFastBytes, grpcAssemblyFastGrowth * received);
      const most = Math.max(grpcAssemblyStartBytes, fastBytes, 2 * received);
      assert.ok(deframer.heldBytes <= most, `${deframer.heldBytes} of ${received}`);
    }
    deframer.push(Buffer.alloc(4 * MiB - received, "x"));
    assert.equal(messages[0]?.text.length, 4 * MiB);
    assert.equal(deframer.heldBytes, 0);
  });

  test("of a batch's usual size are gathered in one buffer from their first frame on", () => {
    const { deframer, messages } = collect(4 * MiB);
    const size = 256 * KiB + 1 * KiB;
    const frame = 16 * KiB;
    deframer.push(Buffer.concat([prefix(size), Buffer.alloc(frame - 5, "x")]));
    assert.equal(deframer.heldBytes, size);
    deframer.push(Buffer.alloc(size - frame + 5, "x"));
    assert.equal(messages[0]?.text.length, size);
  });

  test("that lie whole in what came are views of it", () => {
    const bytes = frameMessage(Buffer.from("abc"), false);
    let view: Buffer | undefined;
    new MessageDeframer(10, (message) => {
      view = message;
    }).push(bytes);
    bytes[5] = 0x7a;
    assert.equal(view?.toString(), "zbc");
  });
});
