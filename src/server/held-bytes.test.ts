import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { HeldBytes, HeldShare } from "./held-bytes.ts";

describe("the share of a request in what is held", () => {
  test("grows up to what is left of all, and is given back at its end", () => {
    const held = new HeldBytes(100);
    const others = new HeldShare(held, "answer");
    others.take(60);
    const share = new HeldShare(held, "answer");
    share.take(30);
    assert.throws(() => share.take(11), { code: "OVERLOADED", message: /^Cannot answer: / });
    assert.equal(held.bytes, 90);
    share.take(10);
    share.end();
    assert.equal(held.bytes, 60);
  });

  test("becomes what it turned into, more or less", () => {
    const held = new HeldBytes(100);
    const share = new HeldShare(held, "answer");
    share.take(50);
    share.become(20);
    assert.equal(held.bytes, 20);
    share.become(100);
    assert.equal(held.bytes, 100);
    assert.throws(() => share.become(101), { code: "OVERLOADED" });
    share.end();
    assert.equal(held.bytes, 0);
  });

  test("is nothing any more once the request is over, whatever still goes on for it", () => {
    const held = new HeldBytes(100);
    const share = new HeldShare(held, "answer");
    share.end();
    share.take(1000);
    share.become(10);
    share.end();
    assert.equal(held.bytes, 0);
  });
});
