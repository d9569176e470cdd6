import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../sim/clock.ts";
import { silentLogger } from "../base/logger.ts";
import type { ReplicaRead } from "../replica/replica.ts";
import { openHttpAccess } from "./access/http-access.ts";
import { addBookRoutes } from "./book-routes.ts";
import { addConsumeRoutes } from "./consume-routes.ts";
import type { ConsumeRequest } from "./consume-service.ts";
import { HeldBytes } from "./held-bytes.ts";
import { HttpApp } from "./http-app.ts";
import { Metrics } from "./metrics.ts";
import type { RouteServices } from "./route-services.ts";

const path = "/v1/topics/orders/records";
const value = Buffer.from("a".repeat(100));
const read: ReplicaRead = {
  records: [{ offset: 0, timestamp: 0, key: null, value, headers: [] }],
  nextOffset: 1,
  logStartOffset: 0,
  highWatermark: 1,
};

describe("the answer of a read", () => {
  test("is counted while it is read, then as it is, and until it is gone", async () => {
    await using world = await World.open(async ({ take }) => {
      take?.(150);
      assert.equal(world.answers.bytes, 150);
      return read;
    });
    const answer = await world.get(path);
    assert.equal(answer.statusCode, 200);
    assert.equal(world.answers.bytes, 0);
  });

  test("that there is no room for is refused before it is text, and leaves nothing counted", async () => {
    await using world = await World.open(async ({ take }) => {
      take?.(150);
      take?.(151);
      return assert.fail("it was taken");
    });
    const answer = await world.get(path);
    assert.equal(answer.json<{ code: string }>().code, "OVERLOADED");
    assert.equal(world.answers.bytes, 0);
  });

  for (const url of [path, "/?offset=0"]) {
    test(`isn't read on for who is gone, at ${url}`, async () => {
      let signal: AbortSignal | undefined;
      await using world = await World.open(async (request) => {
        signal = request.signal;
        assert.equal(signal.aborted, false);
        return read;
      });
      await world.get(url);
      assert.equal(signal?.aborted, true);
    });
  }
});

/** The routes over a service that reads as a test says, with room for 300 bytes of answers. */
class World implements AsyncDisposable {
  readonly answers = new HeldBytes(300);
  readonly #metrics = new Metrics();
  readonly #app: HttpApp;

  private constructor(consume: (request: ConsumeRequest) => Promise<ReplicaRead>) {
    this.#app = new HttpApp({
      logger: silentLogger,
      metrics: this.#metrics,
      clock: createVirtualClock(),
      access: openHttpAccess,
      isLoopbackOnly: true,
    });
    const services = { consume: { consume }, answers: this.answers } as unknown as RouteServices;
    addConsumeRoutes(this.#app, services);
    addBookRoutes(this.#app, services);
  }

  static async open(consume: (request: ConsumeRequest) => Promise<ReplicaRead>): Promise<World> {
    const world = new World(consume);
    await world.#app.ready();
    world.#app.serve();
    return world;
  }

  get(url: string) {
    return this.#app.fastify.inject({ method: "GET", url, headers: { host: "localhost" } });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#app.close();
    this.#metrics.close();
  }
}
