import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock } from "../base/clock.ts";
import type { Logger } from "../base/logger.ts";
import { LevelledLogger, logLevels, type LogLevel } from "./levelled-logger.ts";

/** A logger that says what came through, and a clock that the test moves. */
function world(level: LogLevel) {
  const lines: string[] = [];
  const at = (name: string) => (fields: object, message: string) =>
    void lines.push(`${name}: ${message} ${JSON.stringify(fields)}`);
  const inner: Logger = { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
  let now = 1_000;
  const timers = new Set<{ readonly at: number; readonly run: () => void }>();
  const clock: Clock = {
    now: () => now,
    monotonic: () => now,
    setTimer(delayMs, run) {
      const timer = { at: now + delayMs, run };
      timers.add(timer);
      return { cancel: () => void timers.delete(timer) };
    },
    turn: async () => {},
  };
  const pass = (ms: number): void => {
    now += ms;
    for (const timer of timers)
      if (timer.at <= now) {
        timers.delete(timer);
        timer.run();
      }
  };
  const logger = new LevelledLogger(inner, { level, clock });
  const say = (): readonly string[] => {
    lines.length = 0;
    for (const name of ["debug", "info", "warn", "error"] as const) logger[name]({}, "m");
    return lines.map((line) => line.split(":", 1)[0] ?? "");
  };
  return { logger, lines, pass, say, timers };
}

test("a level lets through itself and what is worse", () => {
  const loud = ["debug", "info", "warn", "error"];
  for (const [position, level] of logLevels.entries()) assert.deepEqual(world(level).say(), loud.slice(position), level);
});

test("a change holds at once, and is told once where either level tells such things", () => {
  for (const [from, to, told] of [
    ["info", "debug", 1],
    ["info", "error", 1],
    ["error", "debug", 1],
    ["error", "warn", 0],
  ] as const) {
    const { logger, lines, say } = world(from);
    logger.change(to);
    assert.deepEqual(lines, told === 0 ? [] : [`info: the log level changed {"from":"${from}","to":"${to}"}`]);
    assert.equal(say()[0], to);
    assert.deepEqual(logger.status, { level: to, configured: from });
  }
});

test("a change for a while ends by itself, and a later one takes its place", () => {
  const { logger, pass, say } = world("info");
  logger.change("debug", 5_000);
  assert.deepEqual(logger.status, { level: "debug", configured: "info", until: 6_000 });
  pass(4_999);
  assert.equal(say()[0], "debug");
  pass(1);
  assert.equal(say()[0], "info");
  assert.deepEqual(logger.status, { level: "info", configured: "info" });
  logger.change("debug", 5_000);
  logger.change("error");
  pass(60_000);
  assert.equal(say()[0], "error");
});

test("a closed logger waits for nothing", () => {
  const { logger, timers } = world("info");
  logger.change("debug", 5_000);
  logger.close();
  assert.equal(timers.size, 0);
});
