import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../sim/clock.ts";
import { ProglogError } from "../base/error.ts";
import type { NodeStorage } from "../replica/node-storage.ts";
import type { ReadBounds, ReplicaRead } from "../replica/replica.ts";
import { openAccess } from "./access/access-control.ts";
import { noQuota } from "./access/byte-quota.ts";
import { insider } from "./access/caller.ts";
import { ConsumeService } from "./consume-service.ts";

const record = { offset: 7, timestamp: 0, key: null, value: null, headers: [] };
const place = { topic: "orders", partition: 0, from: 0, caller: insider };
const request = { ...place, limit: 10, maxBytes: 10, signal: new AbortController().signal };

describe("consuming", () => {
  test("goes on over batches that have no records, without waiting", async () => {
    const script = scriptedDirectory([read(3, 9), read(7, 9), read(9, 9, [record])]);
    const service = new ConsumeService(script.storage, { clock: createVirtualClock(), access: openAccess, quota: noQuota });
    const result = await service.consume({ ...request, waitMs: 0 });
    assert.deepEqual(result.records, [record]);
    assert.deepEqual(script.calls, ["read 0", "read 3", "read 7"]);
  });

  test("doesn't go on over batches that have no records for a client that left, nor when the node stops", async () => {
    for (const kind of ["left", "stops"] as const) {
      const gone = new AbortController();
      const script = scriptedDirectory([read(3, 9), read(7, 9), read(9, 9, [record])], () => {
        if (kind === "left") gone.abort();
        else service.stop();
      });
      const service = new ConsumeService(script.storage, { clock: createVirtualClock(), access: openAccess, quota: noQuota });
      const { records, nextOffset } = await service.consume({ ...request, signal: gone.signal, waitMs: 1000 });
      assert.deepEqual([records, nextOffset], [[], 3]);
      assert.deepEqual(script.calls, ["read 0"]);
    }
  });

  test("hands on the signal of its client, so that a read under way ends with it", async () => {
    const signals: unknown[] = [];
    const script = scriptedDirectory([read(9, 9, [record])], (bounds) => signals.push(bounds.signal));
    await new ConsumeService(script.storage, { clock: createVirtualClock(), access: openAccess, quota: noQuota }).consume({
      ...request,
      waitMs: 0,
    });
    assert.deepEqual(signals, [request.signal]);
  });

  test("waits where the records end, and reads again once it is woken", async () => {
    const script = scriptedDirectory([read(0, 0), read(1, 1, [record])]);
    const service = new ConsumeService(script.storage, { clock: createVirtualClock(), access: openAccess, quota: noQuota });
    const result = await service.consume({ ...request, waitMs: 1000 });
    assert.deepEqual(result.records, [record]);
    assert.deepEqual(script.calls, ["read 0", "wait 0", "read 0"]);
    assert.equal(service.waitCount, 0);
  });

  test("without a wait ends where the records end", async () => {
    const script = scriptedDirectory([read(0, 0)]);
    const service = new ConsumeService(script.storage, { clock: createVirtualClock(), access: openAccess, quota: noQuota });
    assert.deepEqual((await service.consume({ ...request, waitMs: 0 })).records, []);
    assert.deepEqual(script.calls, ["read 0"]);
  });

  test("of a service that stops doesn't wait, and leaves no timer", async () => {
    const clock = createVirtualClock();
    const script = scriptedDirectory([read(0, 0)]);
    const service = new ConsumeService(script.storage, { clock, access: openAccess, quota: noQuota });
    service.stop();
    assert.deepEqual((await service.consume({ ...request, waitMs: 1000 })).records, []);
    assert.deepEqual(script.calls, ["read 0"]);
    assert.equal(clock.timerCount, 0);
  });

  test("for a client that is gone already doesn't wait", async () => {
    const script = scriptedDirectory([read(0, 0)]);
    const service = new ConsumeService(script.storage, { clock: createVirtualClock(), access: openAccess, quota: noQuota });
    await service.consume({ ...request, waitMs: 1000, signal: AbortSignal.abort() });
    assert.deepEqual(script.calls, ["read 0"]);
  });

  test("in a cluster says that there is nothing only once that is confirmed", async () => {
    const script = scriptedDirectory([read(0, 0)], undefined, { confirmed: [0] });
    const service = new ConsumeService(script.storage, { clock: createVirtualClock(), access: openAccess, quota: noQuota });
    assert.deepEqual((await service.consume({ ...request, waitMs: 0 })).records, []);
    assert.deepEqual(script.calls, ["read 0", "confirm"]);
  });

  test("in a cluster reads again what only a confirmation has brought here", async () => {
    const script = scriptedDirectory([read(0, 0), read(1, 1, [record])], undefined, { confirmed: [1] });
    const service = new ConsumeService(script.storage, { clock: createVirtualClock(), access: openAccess, quota: noQuota });
    assert.deepEqual((await service.consume({ ...request, waitMs: 0 })).records, [record]);
    assert.deepEqual(script.calls, ["read 0", "confirm", "read 0"]);
  });

  test("of the leader alone ends when it leads no more", async () => {
    const leading = new AbortController();
    const lost = new ProglogError("NOT_LEADER", "of a test");
    const script = scriptedDirectory([read(0, 0), read(0, 0)], () => leading.abort(lost), { leadership: leading.signal });
    const service = new ConsumeService(script.storage, { clock: createVirtualClock(), access: openAccess, quota: noQuota });
    await assert.rejects(service.consume({ ...request, waitMs: 1000, leaderOnly: true }), lost);
    assert.deepEqual(script.calls, ["read 0"]);
  });
});

function read(nextOffset: number, highWatermark: number, records: ReplicaRead["records"] = []): ReplicaRead {
  return { records, nextOffset, logStartOffset: 0, highWatermark };
}

/** A storage whose one replica gives these reads, and is woken as soon as it waits. */
function scriptedDirectory(
  reads: readonly ReplicaRead[],
  onRead: (bounds: ReadBounds) => void = () => {},
  group: { readonly confirmed?: number[]; readonly leadership?: AbortSignal } = {},
): { readonly storage: NodeStorage; readonly calls: string[] } {
  const calls: string[] = [];
  const rest = [...reads];
  const { confirmed } = group;
  const replica = {
    mayLag: confirmed !== undefined,
    leadership: () => group.leadership,
    confirm: async () => void calls.push("confirm"),
    range: () => ({ logStartOffset: 0, highWatermark: confirmed?.shift() ?? 0 }),
    findOffset: async (from: number) => from,
    read: async (offset: number, bounds: ReadBounds) => {
      onRead(bounds);
      calls.push(`read ${offset}`);
      return rest.shift();
    },
    waitForOffset: async (offset: number) => {
      calls.push(`wait ${offset}`);
    },
  };
  return { storage: { getReplica: () => replica } as unknown as NodeStorage, calls };
}
