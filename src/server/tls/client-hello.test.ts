import assert from "node:assert/strict";
import { createServer, type Socket } from "node:net";
import { once } from "node:events";
import { connect } from "node:tls";
import { describe, test } from "node:test";
import fc from "fast-check";
import { clientHelloMaxBytes } from "../../base/security-limits.ts";
import { readClientHello } from "./client-hello.ts";

/** What a client of node:tls says first. */
async function helloOf(protocols: string[]): Promise<Buffer> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { readonly port: number };
  const client = connect({ host: "127.0.0.1", port, ...(protocols.length === 0 ? {} : { ALPNProtocols: protocols }) });
  client.on("error", () => {});
  const [socket] = (await once(server, "connection")) as [Socket];
  const chunks: Buffer[] = [];
  while (readClientHello(Buffer.concat(chunks)) === "undecided") chunks.push(((await once(socket, "data")) as [Buffer])[0]);
  client.destroy();
  socket.destroy();
  server.close();
  return Buffer.concat(chunks);
}

/** The same message in records of so many bytes. */
function inRecords(hello: Buffer, bytes: number): Buffer {
  const message = hello.subarray(5);
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += bytes) {
    const piece = message.subarray(at, at + bytes);
    records.push(Buffer.from([0x16, 3, 1, piece.length >> 8, piece.length & 0xff]), piece);
  }
  return Buffer.concat(records);
}

describe("a ClientHello", () => {
  test("says which protocols its client would speak", async () => {
    assert.deepEqual(readClientHello(await helloOf(["h2", "http/1.1"])), { protocols: ["h2", "http/1.1"] });
    assert.deepEqual(readClientHello(await helloOf(["proglog-peer/1"])), { protocols: ["proglog-peer/1"] });
    assert.deepEqual(readClientHello(await helloOf([])), { protocols: [] });
  });

  test("is undecided until its last byte, and read the same in pieces, and in records of any length", async () => {
    const hello = await helloOf(["h2"]);
    for (let bytes = 0; bytes < hello.length; bytes += 1)
      assert.equal(readClientHello(hello.subarray(0, bytes)), "undecided", `${bytes} bytes`);
    for (const bytes of [1, 2, 3, 4, 5, 100, 1_000])
      assert.deepEqual(readClientHello(inRecords(hello, bytes)), { protocols: ["h2"] }, `records of ${bytes}`);
    // What comes behind it isn't its business.
    assert.deepEqual(readClientHello(Buffer.concat([hello, Buffer.from("later")])), { protocols: ["h2"] });
  });

  test("of the largest size is read, and one byte more is unknown as soon as it says so", () => {
    const sized = (bytes: number): Buffer => {
      const message = Buffer.alloc(bytes);
      message[0] = 1;
      message.writeUIntBE(bytes - 4, 1, 3);
      // Version and random bytes, no session, no ciphers, no compressions; all the rest is one extension that nobody knows.
      const rest = bytes - 4 - 38;
      message.writeUInt16BE(rest - 2, 4 + 38);
      message.writeUInt16BE(0xffff, 4 + 40);
      message.writeUInt16BE(rest - 6, 4 + 42);
      return Buffer.concat([Buffer.from([0x16, 3, 1, bytes >> 8, bytes & 0xff]), message]);
    };
    assert.deepEqual(readClientHello(sized(clientHelloMaxBytes)), { protocols: [] });
    assert.equal(readClientHello(sized(clientHelloMaxBytes + 1).subarray(0, 9)), "unknown");
  });

  test("that never ends is unknown at the limit, however small its records are", () => {
    const drip = Buffer.concat(Array.from({ length: 2_000 }, () => Buffer.from([0x16, 3, 1, 0, 1, 1])));
    assert.equal(readClientHello(drip.subarray(0, clientHelloMaxBytes)), "unknown");
  });

  for (const [what, hex] of [
    ["of another kind of record", "17030100050100000100"],
    ["of another version", "16020100050100000100"],
    ["of another message", "16030100050200000100"],
    ["of an empty record", "1603010000"],
    ["of a record that is too long", "160301ffff01"],
    ["that is cut off inside", "160301000501000001ff"],
  ] as const)
    test(`${what} is unknown`, () => assert.equal(readClientHello(Buffer.from(hex, "hex")), "unknown"));

  test("of any bytes is judged without a throw, and what is known doesn't change with what follows", async () => {
    const hello = await helloOf(["h2", "proglog-peer/1"]);
    const flips = fc.array(fc.tuple(fc.nat(hello.length - 1), fc.nat(255)), { maxLength: 8 });
    const mutated = flips.map((changes) => {
      const bytes = Buffer.from(hello);
      for (const [at, value] of changes) bytes[at] = value;
      return bytes;
    });
    const random = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.concat([Buffer.from([0x16, 3, 1]), bytes]));
    fc.assert(
      fc.property(fc.oneof(mutated, random), fc.uint8Array({ maxLength: 40 }), (bytes, more) => {
        const found = readClientHello(bytes);
        if (found !== "undecided") assert.deepEqual(readClientHello(Buffer.concat([bytes, more])), found);
      }),
      { numRuns: 2_000 },
    );
  });
});
