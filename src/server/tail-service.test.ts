import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { PassThrough } from "node:stream";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../sim/clock.ts";
import { ProglogError } from "../base/error.ts";
import { consumeWaitMaxMs, tailHeartbeatMs, tailsMaxCount } from "../base/limits.ts";
import type { NodeStorage } from "../replica/node-storage.ts";
import type { TailFormat } from "./tail-format.ts";
import { openAccess } from "./access/access-control.ts";
import { noQuota } from "./access/byte-quota.ts";
import { insider } from "./access/caller.ts";
import { type TailRequest, TailService } from "./tail-service.ts";

describe("the live tails of a node", () => {
  test("are refused beyond their number, and one that ends makes room", async () => {
    const service = new TailService(quietDirectory(), { clock: createVirtualClock(), access: openAccess, quota: noQuota });
    const answers: FakeAnswer[] = [];
    for (let count = 0; count < tailsMaxCount; count += 1) answers.push(await open(service));
    await assert.rejects(open(service), { code: "OVERLOADED" });
    assert.equal(service.count, tailsMaxCount);
    answers[0]?.emit("close");
    await open(service);
    assert.equal(service.count, tailsMaxCount);
  });

  test("that can't begin are counted until their refusal is out", async () => {
    const error = new ProglogError("LOG_CORRUPT", "Cannot read");
    const service = new TailService(quietDirectory({ readError: error }), {
      clock: createVirtualClock(),
      access: openAccess,
      quota: noQuota,
    });
    const answer = new FakeAnswer();
    await assert.rejects(open(service, answer), error);
    assert.equal(service.count, 1);
    assert.equal(answer.isTaken, false);
    answer.emit("close");
    assert.equal(service.count, 0);
  });

  test("beat by one timer, which goes with the last of them", async () => {
    const clock = createVirtualClock();
    const service = new TailService(quietDirectory(), { clock, access: openAccess, quota: noQuota });
    const answers = [await open(service), await open(service)];
    assert.equal(clock.timerCount, 1);
    clock.advance(3 * tailHeartbeatMs);
    assert.equal(clock.timerCount, 1);
    for (const answer of answers) {
      assert.equal(answer.text, "hello -1;beat;beat;");
      assert.equal(clock.timerCount, 1);
      answer.emit("close");
    }
    assert.equal(clock.timerCount, 0);
  });

  test("aren't told that the node is there while they don't listen", async () => {
    const clock = createVirtualClock();
    const service = new TailService(quietDirectory(), { clock, access: openAccess, quota: noQuota });
    const answer = await open(service);
    answer.writableLength = 1;
    clock.advance(3 * tailHeartbeatMs);
    assert.equal(answer.text, "hello -1;");
  });

  test("end with the reason of a stop, and there are none any more", async () => {
    const service = new TailService(quietDirectory(), { clock: createVirtualClock(), access: openAccess, quota: noQuota });
    const answers = [await open(service), await open(service)];
    const stuck = await open(service);
    stuck.writableLength = 1;
    service.stop(new ProglogError("SHUTTING_DOWN", "Cannot go on"));
    for (const answer of answers) assert.equal(answer.text, "hello -1;problem SHUTTING_DOWN;");
    assert.equal(stuck.text, "hello -1;");
    assert.equal(stuck.destroyed, true);
    await assert.rejects(open(service), { code: "SHUTTING_DOWN" });
  });

  test("of several partitions don't say whose leader, or which offset, they mean; of one they wait for it, at most until a stop", async () => {
    const several = new TailService(quietDirectory({ partitions: 2 }), {
      clock: createVirtualClock(),
      access: openAccess,
      quota: noQuota,
    });
    for (const wish of [{ leaderOnly: true }, { atLeastOffset: 1 }])
      await assert.rejects(open(several, undefined, undefined, wish), { code: "INVALID_ARGUMENT", message: /is about one$/ });
    const clock = createVirtualClock();
    const service = new TailService(quietDirectory(), { clock, access: openAccess, quota: noQuota });
    const late = assert.rejects(open(service, undefined, undefined, { atLeastOffset: 1 }), { code: "TIMEOUT" });
    clock.advance(consumeWaitMaxMs);
    await late;
    const stopped = assert.rejects(open(service, undefined, undefined, { atLeastOffset: 1 }), { code: "SHUTTING_DOWN" });
    service.stop(new ProglogError("SHUTTING_DOWN", "Cannot go on"));
    await stopped;
    await assert.rejects(open(service, undefined, undefined, { atLeastOffset: 1 }), { code: "SHUTTING_DOWN" });
    assert.equal(clock.timerCount, 0);
  });

  test("come back at different times", async () => {
    const service = new TailService(quietDirectory(), { clock: createVirtualClock(), access: openAccess, quota: noQuota });
    const retries = new Set<number>();
    const format = { ...plainFormat, hello: (_: string, retryMs: number) => String(retries.add(retryMs).size) };
    for (let count = 0; count < 10; count += 1) await open(service, new FakeAnswer(), format);
    assert.equal(retries.size, 10);
    for (const retryMs of retries) assert(Number.isInteger(retryMs) && retryMs >= 1_000 && retryMs < 2_000);
  });
});

const plainFormat: TailFormat = {
  mediaType: "text/plain",
  hello: (id) => `hello ${id};`,
  record: (json) => `${json};`,
  gap: () => "gap;",
  problem: ({ code }) => `problem ${code};`,
  heartbeat: "beat;",
};

/** As much of an answer as a tail uses. What is written is sent at once, unless a test says what isn't. */
class FakeAnswer extends PassThrough {
  #unsentBytes = 0;
  isTaken = false;
  text = "";

  constructor() {
    super();
    this.on("data", (chunk: Buffer) => {
      this.text += chunk.toString();
    });
    Object.defineProperty(this, "writableLength", {
      get: () => this.#unsentBytes,
      set: (bytes: number) => {
        this.#unsentBytes = bytes;
      },
    });
  }

  declare writableLength: number;

  setHeader(): void {}

  flushHeaders(): void {}
}

async function open(
  service: TailService,
  answer = new FakeAnswer(),
  format = plainFormat,
  wish: Partial<TailRequest> = {},
): Promise<FakeAnswer> {
  await service.open({
    answer: answer as unknown as ServerResponse,
    takeAnswer: () => {
      answer.isTaken = true;
    },
    format,
    caller: insider,
    topic: "orders",
    partition: undefined,
    from: "start",
    behind: undefined,
    ...{ leaderOnly: false, atLeastOffset: 0, signal: new AbortController().signal, ...wish },
  });
  return answer;
}

interface QuietParts {
  readonly readError?: ProglogError;
  readonly partitions?: number;
}

/** Partitions in which nothing is and nothing comes. */
function quietDirectory({ readError, partitions = 1 }: QuietParts = {}): NodeStorage {
  const replica = {
    identity: { topic: "orders", partition: 0, uuid: "u" },
    findOffset: async () => 0,
    range: () => ({ logStartOffset: 0, highWatermark: 0 }),
    read: async () => {
      if (readError !== undefined) throw readError;
      return { records: [], nextOffset: 0, logStartOffset: 0, highWatermark: 0 };
    },
    waitForOffset: (_offset: number, signal: AbortSignal) =>
      new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve())),
  };
  const numbers = Array.from({ length: partitions }, (_, partition) => ({ partition, uuid: `u${partition}` }));
  const topic = { name: "orders", partitions: numbers };
  return { getTopic: () => topic, getReplicaOf: () => replica } as unknown as NodeStorage;
}
