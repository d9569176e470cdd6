import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { grpcStatusMessageMaxBytes } from "../base/limits.ts";
import { decodeStatusMessage, encodeStatusMessage } from "./status-message.ts";

describe("a status message", () => {
  test("of printable ASCII goes as it is, but for the percent sign", () => {
    assert.equal(encodeStatusMessage("no such topic: a/b ~"), "no such topic: a/b ~");
    assert.equal(encodeStatusMessage("100% sure"), "100%25 sure");
  });

  test("is percent-encoded as gRPC's interop test expects", () => {
    const message = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n";
    const encoded = "%09%0Atest with whitespace%0D%0Aand Unicode BMP %E2%98%BA and non-BMP %F0%9F%98%88%09%0A";
    assert.equal(encodeStatusMessage(message), encoded);
    assert.equal(decodeStatusMessage(encoded), message);
  });

  test("comes back as it was, whatever stands in it", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 150 }), (message) => {
        const encoded = encodeStatusMessage(message);
        assert.match(encoded, /^[ -~]*$/);
        assert.equal(decodeStatusMessage(encoded), message.toWellFormed());
      }),
    );
  });

  test("that is wrongly encoded is taken as far as it goes", () => {
    assert.equal(decodeStatusMessage("50% off %zz %4"), "50% off %zz %4");
    assert.equal(decodeStatusMessage("%ff%41"), "\u{FFFD}A");
  });

  test("of the longest length passes whole, and a longer one is cut between two characters", () => {
    const longest = "x".repeat(grpcStatusMessageMaxBytes);
    assert.equal(encodeStatusMessage(longest), longest);
    assert.equal(encodeStatusMessage(`${longest}y`), longest);
    const cut = encodeStatusMessage("é".repeat(grpcStatusMessageMaxBytes));
    assert.equal(cut.length, Math.floor(grpcStatusMessageMaxBytes / 6) * 6);
    assert.match(decodeStatusMessage(cut), /^é+$/);
  });
});
