import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { grpcMetadataMaxBytes, grpcMetadataMaxCount } from "../base/limits.ts";
import { Metadata } from "./metadata.ts";

/** As it goes over the wire and comes back. */
function transported(metadata: Metadata): Metadata {
  const headers: Record<string, string | string[]> = {};
  metadata.addTo(headers);
  const raw = Object.entries(headers).flatMap(([name, value]) => [value].flat().flatMap((one) => [name, one]));
  return Metadata.fromRawHeaders([":status", "200", "content-type", "application/grpc", ...raw, "grpc-status", "0"]);
}

describe("metadata", () => {
  test("keeps text and bytes, several to a name, in their order, whatever the case of the name", () => {
    const metadata = Metadata.of({ "X-Tenant": "a b", "trace-bin": Buffer.from([0, 255]), many: ["1", "2"] });
    metadata.append("Many", "3");
    const received = transported(metadata);
    assert.equal(received.get("x-tenant"), "a b");
    assert.deepEqual(received.getAll("MANY"), ["1", "2", "3"]);
    assert.deepEqual(received.getBytes("trace-bin"), Buffer.from([0, 255]));
    assert.deepEqual(received.names(), ["x-tenant", "trace-bin", "many"]);
    assert.equal(received.get("missing"), undefined);
    assert.equal(received.getBytes("missing-bin"), undefined);
  });

  test("set replaces all values of a name, and remove takes them away", () => {
    const metadata = Metadata.of({ a: ["1", "2"], b: "3" });
    metadata.set("a", "4");
    assert.deepEqual(metadata.getAll("a"), ["4"]);
    metadata.remove("a");
    assert.deepEqual(metadata.names(), ["b"]);
    metadata.remove("b");
    assert.ok(metadata.isEmpty);
  });

  test("bytes go in base64 without padding, and come with it or without, also several with commas", () => {
    const headers: Record<string, string | string[]> = {};
    Metadata.of({ "a-bin": Buffer.from([1]) }).addTo(headers);
    assert.deepEqual(headers, { "a-bin": "AQ" });
    const received = Metadata.fromRawHeaders(["a-bin", "AQ==,Ag", "a-bin", "Aw"]);
    assert.deepEqual(received.getAllBytes("a-bin"), [Buffer.from([1]), Buffer.from([2]), Buffer.from([3])]);
  });

  test("any bytes and any printable text come back as they were", () => {
    const text = fc.string({
      unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)),
      maxLength: 50,
    });
    fc.assert(
      fc.property(text, fc.uint8Array({ maxLength: 100 }), (value, bytes) => {
        const received = transported(Metadata.of({ text: value, "bytes-bin": bytes }));
        assert.equal(received.get("text"), value.trim());
        assert.deepEqual(received.getBytes("bytes-bin"), Buffer.from(bytes));
      }),
    );
  });

  test("leaves out what is HTTP/2's and gRPC's own when it is received, but for the user agent", () => {
    const received = Metadata.fromRawHeaders([
      ":path",
      "/a/b",
      "te",
      "trailers",
      "grpc-timeout",
      "1S",
      "user-agent",
      "x/1",
      "a",
      "b",
    ]);
    assert.deepEqual(received.names(), ["user-agent", "a"]);
  });

  test("refuses names that are no names, or not the user's", () => {
    for (const name of [
      "",
      "a b",
      "ä",
      "a:b",
      ":path",
      "grpc-status",
      "grpc-anything",
      "te",
      "content-type",
      "connection",
      "user-agent",
    ])
      assert.throws(() => Metadata.of({ [name]: "x" }), { name: "GrpcStatusError", status: "INVALID_ARGUMENT" }, name);
  });

  test("refuses values that can't travel", () => {
    for (const value of ["a\nb", "a\rb", "ä", "\0", "\x7f"])
      assert.throws(() => Metadata.of({ a: value }), { status: "INVALID_ARGUMENT" }, JSON.stringify(value));
    assert.throws(() => Metadata.of({ "a-bin": "text" }), { status: "INVALID_ARGUMENT" });
    assert.throws(() => Metadata.of({ a: Buffer.from("bytes") }), { status: "INVALID_ARGUMENT" });
  });

  test("takes as many entries as the limit says, and not one more", () => {
    const metadata = new Metadata();
    for (let count = 0; count < grpcMetadataMaxCount; count += 1) metadata.append("a", "b");
    assert.throws(() => metadata.append("a", "b"), { status: "RESOURCE_EXHAUSTED" });
    metadata.remove("a");
    metadata.append("a", "b");
  });

  test("is appended to another's where both together fit, and else not at all", () => {
    const half = Metadata.of({ "a-bin": Buffer.alloc(3100), b: "c" });
    const other = Metadata.of({ b: "d" });
    assert.ok(other.tryAppendAll(half));
    assert.deepEqual([other.getAll("b"), other.getBytes("a-bin")?.length], [["d", "c"], 3100]);
    assert.ok(!other.tryAppendAll(half));
    assert.deepEqual(other.names(), ["b", "a-bin"]);
    const received = Metadata.fromRawHeaders(["c-bin", "A".repeat(4000)]);
    assert.ok(!other.tryAppendAll(received));
  });

  test("takes as many bytes as the limit says, as HTTP/2 counts them, and not one more", () => {
    const fits = "x".repeat(grpcMetadataMaxBytes - "a".length - 32);
    assert.equal(Metadata.of({ a: fits }).get("a"), fits);
    assert.throws(() => Metadata.of({ a: `${fits}x` }), { status: "RESOURCE_EXHAUSTED" });
  });
});
