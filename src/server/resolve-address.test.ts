import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { formationAddressesMaxCount } from "../base/cluster-limits.ts";
import { resolveAddress } from "./resolve-address.ts";

const found =
  (...addresses: string[]) =>
  async (): Promise<{ address: string }[]> =>
    addresses.map((address) => ({ address }));

describe("a join address", () => {
  test("that is an IP address stands for itself, and nobody is asked", async () => {
    const ask = (): never => assert.fail("asked");
    assert.deepEqual(await resolveAddress("10.0.0.1:9000", ask), ["10.0.0.1:9000"]);
    assert.deepEqual(await resolveAddress("[::1]", ask), ["[::1]:8000"]);
  });

  test("that is a name of one is kept, of many is each of them once", async () => {
    assert.deepEqual(await resolveAddress("a.example:9000", found("10.0.0.1")), ["a.example:9000"]);
    assert.deepEqual(await resolveAddress("a.example:9000", found("10.0.0.1", "10.0.0.1")), ["a.example:9000"]);
    assert.deepEqual(await resolveAddress("all:9000", found("10.0.0.1", "fd00::1", "10.0.0.1")), [
      "10.0.0.1:9000",
      "[fd00::1]:9000",
    ]);
    const many = Array.from({ length: 300 }, (_, number) => `10.0.${number >> 8}.${number & 255}`);
    assert.equal((await resolveAddress("all", found(...many))).length, formationAddressesMaxCount);
  });

  test("that can't be found is UNAVAILABLE", async () => {
    await assert.rejects(resolveAddress("a", found()), { code: "UNAVAILABLE", message: "Cannot find a: a has no address" });
    const unknown = (): Promise<never> => Promise.reject(new Error("ENOTFOUND"));
    await assert.rejects(resolveAddress("a:1", unknown), { code: "UNAVAILABLE", message: "Cannot find a:1: a isn't known" });
    await assert.rejects(resolveAddress("a b", unknown), { code: "UNAVAILABLE" });
  });

  test("that is this machine is found by the system", async () => {
    assert.ok((await resolveAddress("localhost:1")).length >= 1);
  });
});
