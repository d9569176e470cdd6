import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { bytesMethod, GrpcPair } from "../../test/grpc-pair.ts";
import { grpcSendQueueBytes } from "../base/limits.ts";
import { KiB, MiB } from "../base/units.ts";
import { GrpcStatusError, serve } from "./index.ts";

const download = bytesMethod("/test.Test/Download", "server-stream");
const pieceBytes = 64 * KiB;

async function* piecesOf(message: Buffer, onPiece?: (at: number) => void): AsyncGenerator<Buffer> {
  for (let at = 0; at < message.length; at += pieceBytes) {
    onPiece?.(at);
    yield message.subarray(at, at + pieceBytes);
  }
}

describe("a message sent in pieces", () => {
  test("comes as one, between others, compressed ones too", async () => {
    const messages = [3 * MiB, 1, pieceBytes, 0].map((size, i) => Buffer.alloc(size, i + 1));
    await using pair = await GrpcPair.open({
      methods: [
        serve(download, async (_request, responses, call) => {
          call.isCompressing = true;
          for (const message of messages) {
            await responses.sendInPieces({ byteLength: message.length, pieces: piecesOf(message) });
            await responses.send(Buffer.from("between"));
          }
        }),
      ],
    });
    const call = await pair.connect().serverStream(download, Buffer.alloc(0));
    const came: Buffer[] = [];
    for await (const message of call.responses) came.push(message);
    assert.equal(came.length, 2 * messages.length);
    for (const [i, message] of messages.entries()) {
      assert.ok(came[2 * i]?.equals(message), `message ${i}`);
      assert.equal(String(came[2 * i + 1]), "between");
    }
  });

  test("asks for a piece when there is room for it, and for none once its client is gone", async () => {
    const message = Buffer.alloc(4 * MiB);
    const heldBytes: number[] = [];
    const ended = Promise.withResolvers<unknown>();
    await using pair = await GrpcPair.open({
      methods: [
        serve(download, async (_request, responses) => {
          try {
            // The client gathers the first, and of the others its window lets through no more than a quarter of one.
            for (let sent = 0; sent < 3; sent += 1) {
              const pieces = piecesOf(message, () => heldBytes.push(pair.server.heldBytes));
              await responses.sendInPieces({ byteLength: message.length, pieces });
            }
          } catch (error) {
            ended.resolve(error);
          }
        }),
      ],
    });
    const call = await pair.connect().serverStream(download, Buffer.alloc(0));
    const isStanding = (): boolean =>
      heldBytes.length > message.length / pieceBytes && pair.server.heldBytes > grpcSendQueueBytes;
    while (!isStanding()) await new Promise((resolve) => setImmediate(resolve));
    call.cancel();
    assert.ok((await ended.promise) instanceof GrpcStatusError);
    const askedCount = heldBytes.length;
    assert.ok(askedCount < (2 * message.length) / pieceBytes, `${askedCount} pieces were asked for`);
    assert.ok(Math.max(...heldBytes) <= grpcSendQueueBytes, `${Math.max(...heldBytes)} bytes were held when one was asked for`);
  });

  test("whose pieces fail ends with the handler's status, whatever is sent behind it", async () => {
    const refusals: unknown[] = [];
    await using pair = await GrpcPair.open({
      methods: [
        serve(download, async (_request, responses) => {
          await responses.send(Buffer.from("first"));
          const pieces = piecesOf(Buffer.alloc(1 * MiB), (at) => {
            if (at >= 256 * KiB) throw new GrpcStatusError("DATA_LOSS", "rotten");
          });
          try {
            await responses.sendInPieces({ byteLength: 1 * MiB, pieces });
          } finally {
            await responses.send(Buffer.from("behind")).catch((error: unknown) => refusals.push(error));
          }
        }),
      ],
    });
    const call = await pair.connect().serverStream(download, Buffer.alloc(0));
    const came: string[] = [];
    await assert.rejects(
      async () => {
        for await (const message of call.responses) came.push(String(message));
      },
      { status: "DATA_LOSS", message: "rotten" },
    );
    assert.deepEqual(came, ["first"]);
    assert.match(String(refusals), /the one before it isn't whole/);
  });
});
