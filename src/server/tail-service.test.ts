import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { PassThrough } from "node:stream";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../sim/clock.ts";
import { ProglogError } from "../base/error.ts";
import { tailHeartbeatMs, tailsMaxCount } from "../base/limits.ts";
import type { NodeStorage } from "../replica/node-storage.ts";
import type { TailFormat } from "./tail-format.ts";
import { openAccess } from "./access/access-control.ts";
import { insider } from "./access/caller.ts";
import { TailService } from "./tail-service.ts";

describe("the live tails of a node", () => {
  test("are refused beyond their number, and one that ends makes room", async () => {
    const service = new TailService(quietDirectory(), { clock: createVirtualClock(), access: openAccess });
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
    const service = new TailService(quietDirectory({ readError: error }), { clock: createVirtualClock(), access: openAccess });
    const answer = new FakeAnswer();
    await assert.rejects(open(service, answer), error);
    assert.equal(service.count, 1);
    assert.equal(answer.isTaken, false);
    answer.emit("close");
    assert.equal(service.count, 0);
  });

  test("beat by one timer, which goes with the last of them", async () => {
    const clock = createVirtualClock();
    const service = new TailService(quietDirectory(), { clock, access: openAccess });
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
    const service = new TailService(quietDirectory(), { clock, access: openAccess });
    const answer = await open(service);
    answer.writableLength = 1;
    clock.advance(3 * tailHeartbeatMs);
    assert.equal(answer.text, "hello -1;");
  });

  test("end with the reason of a stop, and there are none any more", async () => {
    const service = new TailService(quietDirectory(), { clock: createVirtualClock(), access: openAccess });
    const answers = [await open(service), await open(service)];
    const stuck = await open(service);
    stuck.writableLength = 1;
    service.stop(new ProglogError("SHUTTING_DOWN", "Cannot go on"));
    for (const answer of answers) assert.equal(answer.text, "hello -1;problem SHUTTING_DOWN;");
    assert.equal(stuck.text, "hello -1;");
    assert.equal(stuck.destroyed, true);
    await assert.rejects(open(service), { code: "SHUTTING_DOWN" });
  });

  test("come back at different times", async () => {
    const service = new TailService(quietDirectory(), { clock: createVirtualClock(), access: openAccess });
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

async function open(service: TailService, answer = new FakeAnswer(), format = plainFormat): Promise<FakeAnswer> {
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
  });
  return answer;
}

/** One partition in which nothing is and nothing comes. */
function quietDirectory({ readError }: { readonly readError?: ProglogError } = {}): NodeStorage {
  const replica = {
    identity: { topic: "orders", partition: 0, uuid: "u" },
    findOffset: async () => 0,
    read: async () => {
      if (readError !== undefined) throw readError;
      return { records: [], nextOffset: 0, logStartOffset: 0, highWatermark: 0 };
    },
    waitForOffset: (_offset: number, signal: AbortSignal) =>
      new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve())),
  };
  const topic = { name: "orders", partitions: [{ partition: 0, uuid: "u" }] };
  return { getTopic: () => topic, getReplicaOf: () => replica } as unknown as NodeStorage;
}
