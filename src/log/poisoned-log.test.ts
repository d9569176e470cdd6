import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { LogWorld } from "../../test/log-world.ts";

describe("a poisoned log", () => {
  test("ends tails and waits that could only hang, after what was synced", async () => {
    const world = new LogWorld();
    const log = await world.open();
    await log.append({ value: "a" });
    const tail = log.records({ tail: true });
    assert.equal((await tail.next()).value?.offset, 0);
    const next = assert.rejects(tail.next(), { code: "LOG_POISONED" });
    const waiting = assert.rejects(log.waitForOffset(1), { code: "LOG_POISONED" });
    world.disk.fail({ kind: "datasync", path: ".store", code: "EIO" });
    await assert.rejects(log.append({ value: "b" }), { code: "DISK_FAILED" });
    await Promise.all([next, waiting]);
    await assert.rejects(log.waitForOffset(1), { code: "LOG_POISONED" });
    const late = log.records({ tail: true });
    assert.equal((await late.next()).value?.offset, 0, "what was synced is read");
    await assert.rejects(late.next(), { code: "LOG_POISONED" });
    await log.close();
  });
});
