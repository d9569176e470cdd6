import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { GrpcPair } from "../../test/grpc-pair.ts";
import { Health, healthCheck, healthList, healthWatch } from "./health.ts";

describe("the health service", () => {
  test("tells the status of the server and of its services, and NOT_FOUND for others", async () => {
    const health = new Health();
    health.set("", "SERVING");
    health.set("log.v1.Log", "NOT_SERVING");
    await using pair = await GrpcPair.open({ methods: health.methods });
    const channel = pair.connect();
    assert.equal(await channel.unary(healthCheck, ""), "SERVING");
    assert.equal(await channel.unary(healthCheck, "log.v1.Log"), "NOT_SERVING");
    await assert.rejects(channel.unary(healthCheck, "other"), { status: "NOT_FOUND" });
  });

  test("lists all services with their status, in the bytes that the standard says", async () => {
    const health = new Health();
    await using pair = await GrpcPair.open({ methods: health.methods });
    const channel = pair.connect();
    assert.deepEqual(await channel.unary(healthList, undefined), new Map());
    const statuses = [
      ["", "SERVING"],
      ["log.v1.Log", "NOT_SERVING"],
    ] as const;
    for (const [service, status] of statuses) health.set(service, status);
    assert.deepEqual(await channel.unary(healthList, undefined), new Map(statuses));
    // map<string, HealthCheckResponse> statuses = 1, of which an entry is a message of key = 1 and value = 2.
    const bytes = healthList.response.encode(new Map([["ab", "SERVING"]]));
    assert.deepEqual(bytes, Buffer.from("0a080a02616212020801", "hex"));
  });

  test("tells a watcher the status, and each change of it until it goes", async () => {
    const health = new Health();
    await using pair = await GrpcPair.open({ methods: health.methods });
    const channel = pair.connect();
    const watch = await channel.serverStream(healthWatch, "a");
    assert.equal(await watch.responses.read(), "SERVICE_UNKNOWN");
    health.set("a", "SERVING");
    assert.equal(await watch.responses.read(), "SERVING");
    health.set("a", "SERVING");
    health.set("b", "NOT_SERVING");
    health.set("a", "NOT_SERVING");
    assert.equal(await watch.responses.read(), "NOT_SERVING");
    watch.cancel();
    await assert.rejects(watch.responses.read(), { status: "CANCELLED" });
    while (pair.server.callCount > 0) await new Promise((resolve) => void setImmediate(resolve));
    assert.equal(health.watcherCount, 0);
  });

  test("tells a watcher that is slow the last of several changes", async () => {
    const health = new Health();
    health.set("", "SERVING");
    await using pair = await GrpcPair.open({ methods: health.methods });
    const watch = await pair.connect().serverStream(healthWatch, "");
    assert.equal(await watch.responses.read(), "SERVING");
    health.set("", "NOT_SERVING");
    health.set("", "SERVING");
    health.set("", "NOT_SERVING");
    assert.equal(await watch.responses.read(), "NOT_SERVING");
    watch.cancel();
  });
});
