import assert from "node:assert/strict";
import { test } from "node:test";
import { OtlpCollector } from "../../../test/otlp-collector.ts";
import type { Clock } from "../../base/clock.ts";
import { otlpAnswerMaxBytes } from "../../base/limits.ts";
import { silentLogger } from "../../base/logger.ts";
import { OtlpPush, type PushOutcome } from "./otlp-push.ts";
import { parseHeaders } from "./otlp-sender.ts";

/** A push whose time the test moves: each timer is listed, and runs when the test says so. */
function begin(endpoint: string, headers: string | null = null) {
  const timers: { readonly delayMs: number; readonly run: () => void; isOver: boolean }[] = [];
  const clock: Clock = {
    now: () => 5_000,
    monotonic: () => 5_000,
    setTimer(delayMs, run) {
      const timer = { delayMs, run, isOver: false };
      timers.push(timer);
      return { cancel: () => void (timer.isOver = true) };
    },
    turn: async () => {},
  };
  const logged: string[] = [];
  const outcomes: PushOutcome[] = [];
  let heard = Promise.withResolvers<PushOutcome>();
  const push = new OtlpPush({
    signal: "metrics",
    target: { endpoint, headers },
    intervalMs: 60_000,
    clock,
    logger: {
      ...silentLogger,
      info: (_, message) => void logged.push(message),
      warn: (fields, message) => void logged.push(`${message}: ${(fields as { reason: string }).reason}`),
    },
    collect: async () => ({ figures: 1 }),
    onPushed: (outcome) => {
      outcomes.push(outcome);
      heard.resolve(outcome);
      heard = Promise.withResolvers();
    },
  });
  /** Runs the timer that waits; of two that of the limit. */
  const pass = (): void => {
    const due = timers.findLast(({ isOver }) => !isOver);
    assert.ok(due !== undefined);
    due.isOver = true;
    due.run();
  };
  const waiting = (): readonly number[] => timers.filter(({ isOver }) => !isOver).map(({ delayMs }) => delayMs);
  return { push, pass, waiting, outcomes, logged, next: () => heard.promise };
}

async function settled(world: ReturnType<typeof begin>): Promise<void> {
  const heard = world.next();
  world.pass();
  await heard;
  // Until the next wait has begun.
  while (world.waiting().length === 0) await new Promise((resolve) => void setImmediate(resolve));
}

test("metrics are pushed when it is time, with the headers that are configured, and once more at the end", async () => {
  await using collector = await OtlpCollector.open();
  const world = begin(`${collector.url}/otlp/`, "authorization=Basic%20abc, x-tenant=1");
  assert.deepEqual(world.waiting(), [60_000]);
  await settled(world);
  const { path, headers, message } = await collector.next();
  assert.equal(path, "/otlp/v1/metrics");
  assert.deepEqual(
    [headers["authorization"], headers["x-tenant"], headers["content-type"]],
    ["Basic abc", "1", "application/json"],
  );
  assert.deepEqual(message, { figures: 1 });
  await world.push.close(1_000);
  await collector.next();
  await world.push.close(1_000);
  assert.deepEqual([world.outcomes, world.waiting(), world.logged], [["sent", "sent"], [], []]);
});

test("a collector that fails is told of once, until it is back, and nothing gathers meanwhile", async () => {
  await using collector = await OtlpCollector.open();
  const world = begin(collector.url);
  collector.answer = (response) => void response.writeHead(503).end("go away");
  await settled(world);
  await settled(world);
  collector.answer = (response) => void response.end();
  await settled(world);
  collector.answer = (response) => void response.end('{"partialSuccess":{"rejectedDataPoints":"1","errorMessage":"no"}}');
  await settled(world);
  assert.deepEqual(world.outcomes, ["failed", "failed", "sent", "partial"]);
  assert.match(world.logged[0] ?? "", /^metrics can't be pushed: Cannot push to 127\.0\.0\.1:\d+: it answers 503: go away$/);
  assert.deepEqual(world.logged.slice(1), ["metrics are pushed again"]);
  await world.push.close(0);
  assert.equal(world.outcomes.length, 4);
});

test("a push that is sent elsewhere, or that nobody takes, fails; one whose answer doesn't end doesn't", async () => {
  const left = await OtlpCollector.open();
  await left[Symbol.asyncDispose]();
  await using collector = await OtlpCollector.open();
  const { url } = collector;
  const moved = begin(url);
  collector.answer = (response) => void response.writeHead(307, { location: `${url}/elsewhere` }).end();
  await settled(moved);
  assert.deepEqual(moved.outcomes, ["failed"]);
  const long = begin(url);
  collector.answer = (response) => void response.end(" ".repeat(2 * otlpAnswerMaxBytes));
  await settled(long);
  assert.deepEqual(long.outcomes, ["sent"], "what it has to say behind its first bytes isn't waited for");
  const gone = begin(left.url);
  await settled(gone);
  assert.match(gone.logged.join(), /ECONNREFUSED/);
  for (const world of [moved, long, gone]) await world.push.close(0);
});

test("a collector that is silent holds up neither the next push nor the end", async () => {
  await using collector = await OtlpCollector.open();
  collector.answer = () => {};
  const world = begin(collector.url);
  world.pass();
  await collector.next();
  assert.deepEqual(world.waiting(), [60_000], "the push under way has as long as until the next");
  await settled(world);
  assert.match(world.logged.join(), /it took too long$/);
  world.pass();
  await collector.next();
  const closed = world.push.close(1_000);
  assert.deepEqual(world.waiting(), [60_000, 1_000], "the one under way has no longer than that, too");
  world.pass();
  await collector.next();
  assert.deepEqual(world.waiting(), [1_000]);
  world.pass();
  await closed;
  assert.deepEqual(world.outcomes, ["failed", "failed", "failed"]);
});

test("a push that is under way at the end is let come to its own, and another follows it", async () => {
  await using collector = await OtlpCollector.open();
  const asked = Promise.withResolvers<() => void>();
  collector.answer = (response) => asked.resolve(() => void response.end());
  const world = begin(collector.url);
  world.pass();
  const answer = await asked.promise;
  const closed = world.push.close(1_000);
  collector.answer = (response) => void response.end();
  answer();
  await closed;
  assert.deepEqual([world.outcomes, world.waiting()], [["sent", "sent"], []]);
});

test("headers are names and values by commas, percent-encoded where they must be", () => {
  assert.deepEqual(parseHeaders("Api-Key=a%2Cb=c"), { "api-key": "a,b=c" });
  assert.deepEqual(parseHeaders(null), {});
  for (const wrong of ["", "a", "=b", "a b=c", "a=%zz", "a=b,"]) assert.equal(parseHeaders(wrong), undefined, wrong);
});
