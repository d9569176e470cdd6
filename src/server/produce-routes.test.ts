import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { systemClock } from "../base/clock.ts";
import { ProglogError } from "../base/error.ts";
import { silentLogger } from "../base/logger.ts";
import type { NodeStorage } from "../replica/node-storage.ts";
import type { AppendOptions, ReplicaAppend } from "../replica/replica.ts";
import { openAccess } from "./access/access-control.ts";
import { noQuota } from "./access/byte-quota.ts";
import { openHttpAccess } from "./access/http-access.ts";
import { HeldBytes } from "./held-bytes.ts";
import { HttpApp } from "./http-app.ts";
import { Metrics } from "./metrics.ts";
import { addProduceRoutes } from "./produce-routes.ts";
import { ProduceService } from "./produce-service.ts";
import { RequestBodies } from "./request-bodies.ts";
import type { RouteServices } from "./route-services.ts";

const sequence = { "producer-id": "7", "producer-epoch": "1", "producer-sequence": "40" };

describe("producing on a condition or with a sequence", () => {
  test("hands both on, and answers with the end behind what was appended", async () => {
    await using world = await World.open();
    const answer = await world.post([{ value: "a" }, { value: "b" }], { ...sequence, "if-match": '"10"' });
    assert.equal(answer.statusCode, 200);
    assert.deepEqual(world.options, [{ expectedOffset: 10, producer: { id: 7, epoch: 1, baseSequence: 40 } }]);
    assert.deepEqual(answer.json(), { partition: 0, baseOffset: 10, count: 2, isDurable: true });
    assert.equal(answer.headers.etag, '"12"');
  });

  test("is for bytes, too", async () => {
    await using world = await World.open();
    const answer = await world.post("bytes", { "if-match": "10", "content-type": "application/octet-stream" });
    assert.equal(answer.headers.etag, '"11"');
    assert.deepEqual(world.options, [{ expectedOffset: 10 }]);
  });

  test("says of a retry that it was one", async () => {
    await using world = await World.open({ isDuplicate: true });
    const answer = await world.post({ value: "a" }, sequence);
    assert.equal(answer.statusCode, 200);
    assert.deepEqual(answer.json(), { partition: 0, baseOffset: 10, count: 1, isDurable: true, duplicate: true });
  });

  test("says where the log ends when the condition fails", async () => {
    const error = new ProglogError("CONDITION_FAILED", "Cannot append at offset 9: the log ends at 10", {
      details: { expectedOffset: 9, logEndOffset: 10 },
    });
    await using world = await World.open({ error });
    const answer = await world.post({ value: "a" }, { "if-match": "9" });
    assert.equal(answer.statusCode, 412);
    assert.equal(answer.headers.etag, '"10"');
    const { code, outcome, details } = answer.json<Record<string, unknown>>();
    assert.deepEqual([code, outcome, details], ["CONDITION_FAILED", "not-appended", { expectedOffset: 9, logEndOffset: 10 }]);
  });

  test("needs a partition where there are several, and takes the one named", async () => {
    await using world = await World.open({ partitions: 2 });
    const refused = await world.post({ key: "k", value: "a" }, sequence);
    assert.equal(refused.statusCode, 400);
    assert.deepEqual(world.options, []);
    const named = await world.post({ key: "k", value: "a" }, sequence, "?partition=1");
    assert.equal(named.json<{ partition: number }>().partition, 1);
  });

  test("is refused for lines, and where the headers are wrong, before anything is read", async () => {
    await using world = await World.open();
    for (const headers of [
      { ...sequence, "content-type": "application/x-ndjson" },
      { "if-match": "10", "content-type": "application/x-ndjson" },
      { "if-match": "*" },
      { "producer-id": "7" },
    ]) {
      const answer = await world.post({ value: "a" }, headers);
      assert.equal(answer.statusCode, 400);
      assert.equal(answer.json<{ code: string }>().code, "INVALID_ARGUMENT");
    }
    assert.deepEqual(world.options, []);
  });

  test("without them a batch is appended on nothing", async () => {
    await using world = await World.open();
    await world.post({ value: "a" }, {});
    assert.deepEqual(world.options, [undefined]);
  });
});

/** The route over a replica that appends at offset 10, or does as it is told. */
class World implements AsyncDisposable {
  /** What each append was to be on. */
  readonly options: (AppendOptions | undefined)[] = [];
  readonly #app: HttpApp;
  readonly #metrics = new Metrics();

  private constructor({ partitions = 1, isDuplicate = false, error }: WorldOptions) {
    this.#app = new HttpApp({
      logger: silentLogger,
      metrics: this.#metrics,
      clock: systemClock,
      access: openHttpAccess,
      isLoopbackOnly: false,
    });
    const replica = {
      append: async (records: readonly unknown[], options?: AppendOptions): Promise<ReplicaAppend> => {
        this.options.push(options);
        if (error !== undefined) throw error;
        return { baseOffset: 10, count: records.length, appendTime: 0, isDurable: true, isDuplicate };
      },
    };
    const topic = { name: "orders", partitions: Array.from({ length: partitions }, (_, partition) => ({ partition })) };
    const storage = {
      catalog: { findTopic: () => topic },
      getLeaderOf: () => replica,
      effectiveSettings: () => ({ maxRecordBytes: 1000 }),
    } as unknown as NodeStorage;
    const produce = new ProduceService(storage, { isAutoCreating: true, access: openAccess, quota: noQuota });
    const bodies = new RequestBodies({ bodyMaxBytes: 1000, held: new HeldBytes(1000) });
    addProduceRoutes(this.#app, { produce, bodies } as unknown as RouteServices);
  }

  static async open(options: WorldOptions = {}): Promise<World> {
    const world = new World(options);
    await world.#app.ready();
    world.#app.serve();
    return world;
  }

  post(body: object | string, headers: Record<string, string>, query = "") {
    return this.#app.fastify.inject({
      method: "POST",
      url: `/v1/topics/orders/records${query}`,
      headers: { "content-type": "application/json", ...headers },
      payload: typeof body === "string" ? body : JSON.stringify(body),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#app.close();
    this.#metrics.close();
  }
}

interface WorldOptions {
  readonly partitions?: number;
  readonly isDuplicate?: boolean;
  readonly error?: ProglogError;
}
