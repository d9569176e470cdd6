import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { recordMaxBytes, tracingHeadersMaxBytes } from "../src/base/limits.ts";
import { type ConsumedRecord, connect, type TracingApi, type TracingSpanOptions } from "../src/client/index.ts";
import { startTestNode } from "./test-node.ts";

interface FakeSpan {
  readonly name: string;
  readonly kind: number;
  /** "<trace>-<span>" */
  readonly id: string;
  readonly parent: string | undefined;
  readonly attributes: Record<string, string | number>;
  status: { readonly code: number; readonly message?: string } | undefined;
  endCount: number;
}

/** As much of OpenTelemetry as is asked of it; a context is the id of its span. */
function fakeApi() {
  const spans: FakeSpan[] = [];
  let active: string | undefined;
  let carried = "";
  const startSpan = (name: string, { kind, attributes }: TracingSpanOptions, context?: unknown) => {
    const parent = typeof context === "string" ? context : undefined;
    const id = `${parent?.split("-")[0] ?? `t${spans.length + 1}`}-s${spans.length + 1}`;
    const span: FakeSpan = { name, kind, id, parent, attributes: { ...attributes }, status: undefined, endCount: 0 };
    spans.push(span);
    return {
      id,
      setAttribute: (key: string, value: string | number) => (span.attributes[key] = value),
      setStatus: (status: { readonly code: number }) => (span.status = status),
      end: () => (span.endCount += 1),
    };
  };
  const api: TracingApi = {
    trace: { getTracer: () => ({ startSpan }), setSpan: (_, span) => (span as unknown as { id: string }).id },
    context: {
      active: () => active,
      with(context, run) {
        const before = active;
        active = String(context);
        try {
          return run();
        } finally {
          active = before;
        }
      },
    },
    propagation: {
      inject: (context, carrier) => void (carrier["traceparent"] = `${String(context)}${carried}`),
      extract: (context, carrier) => carrier["traceparent"] ?? context,
      fields: () => ["traceparent", "tracestate"],
    },
  };
  return {
    api,
    spans,
    /** Makes what travels so much longer. */
    carryMore: (bytes: number): void => void (carried = "x".repeat(bytes)),
    runIn: <Result>(context: string, run: () => Result): Result => api.context.with(context, run),
    active: () => active,
  };
}

async function recordsOf(consumer: AsyncIterable<ConsumedRecord>): Promise<ConsumedRecord[]> {
  const records: ConsumedRecord[] = [];
  for await (const record of consumer) records.push(record);
  return records;
}

const headersOf = (record: ConsumedRecord | undefined) => record?.headers.map(({ key, value }) => [key, String(value)]);

describe("a client that traces", () => {
  test("has a span for each record that is sent, in the trace that is active, and its context in the record's headers", async () => {
    await using node = await startTestNode();
    const world = fakeApi();
    await using client = connect(`127.0.0.1:${node.port}`, { tracing: world.api });
    await using producer = client.producer({ topic: "a" });
    const sent = await world.runIn("t9-s9", () => producer.send({ value: "1", headers: [{ key: "own", value: "x" }] }));
    const [span] = world.spans;
    assert.deepEqual(span, {
      ...{ name: "send a", kind: 3, id: "t9-s1", parent: "t9-s9", status: undefined, endCount: 1 },
      attributes: {
        "messaging.system": "proglog",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "a",
        "messaging.destination.partition.id": "0",
        "messaging.proglog.offset": sent.offset,
      },
    });
    const [record] = await recordsOf(client.consume({ topic: "a", stopsAtEnd: true }));
    assert.deepEqual(headersOf(record), [
      ["own", "x"],
      ["traceparent", "t9-s1"],
    ]);
  });

  test("works on a record in the trace in which it was sent, and tells how that ended", async () => {
    await using node = await startTestNode();
    const world = fakeApi();
    await using client = connect(`127.0.0.1:${node.port}`, { tracing: world.api });
    await using producer = client.producer({ topic: "a" });
    await world.runIn("t9-s9", () => producer.send({ value: "1" }));
    const consumer = client.consume({ topic: "a", stopsAtEnd: true });
    const [record] = await recordsOf(consumer);
    assert.ok(record !== undefined);
    assert.equal(
      consumer.process(record, () => world.active()),
      "t9-s2",
    );
    assert.equal(await consumer.process(record, async () => 7), 7);
    assert.throws(() => consumer.process(record, () => assert.fail("no")), { message: "no" });
    await assert.rejects(
      consumer.process(record, () => Promise.reject(new TypeError("never"))),
      TypeError,
    );
    const processed = world.spans.slice(1);
    assert.deepEqual(
      processed.map(({ name, kind, parent, endCount }) => [name, kind, parent, endCount]),
      Array.from({ length: 4 }, () => ["process a", 4, "t9-s1", 1]),
    );
    assert.deepEqual(
      processed.map(({ status, attributes }) => [status?.code, attributes["error.type"]]),
      [
        [undefined, undefined],
        [undefined, undefined],
        [2, "AssertionError"],
        [2, "TypeError"],
      ],
    );
    assert.equal(processed[0]?.attributes["messaging.proglog.offset"], record.offset);
  });

  test("has one span for a batch, and gives back the records as they were given", async () => {
    await using node = await startTestNode();
    const world = fakeApi();
    await using client = connect(`127.0.0.1:${node.port}`, { tracing: world.api });
    await using producer = client.producer({ topic: "a" });
    const records = [{ value: "1" }, { value: "2" }];
    const parts = await producer.sendParts(records);
    assert.deepEqual(
      parts.flatMap((part) => part.records),
      records,
    );
    await client.append(records, { topic: "a", expectedOffset: 2 });
    assert.deepEqual(
      world.spans.map(({ name, endCount, attributes }) => [
        name,
        endCount,
        attributes["messaging.batch.message_count"],
        attributes["messaging.proglog.offset"],
      ]),
      [
        ["send a", 1, 2, 0],
        ["send a", 1, 2, 2],
      ],
    );
    const read = await recordsOf(client.consume({ topic: "a", stopsAtEnd: true }));
    assert.deepEqual(
      read.map(headersOf).flat(),
      ["t1-s1", "t1-s1", "t2-s2", "t2-s2"].map((id) => ["traceparent", id]),
    );
  });

  test("tells of what failed by its code", async () => {
    await using node = await startTestNode();
    const world = fakeApi();
    await using client = connect(`127.0.0.1:${node.port}`, { tracing: world.api });
    await client.createTopic("a");
    await assert.rejects(client.append([{ value: "1" }], { topic: "a", expectedOffset: 5 }), { code: "CONDITION_FAILED" });
    const producer = client.producer({ topic: "a" });
    await producer.close();
    await assert.rejects(producer.send({ value: "1" }), { code: "LOG_CLOSED" });
    await assert.rejects(producer.sendBatch([{ value: "1" }]), { code: "LOG_CLOSED" });
    assert.deepEqual(
      world.spans.map(({ status, attributes, endCount }) => [status?.code, attributes["error.type"], endCount]),
      [
        [2, "CONDITION_FAILED", 1],
        [2, "LOG_CLOSED", 1],
        [2, "LOG_CLOSED", 1],
      ],
    );
  });

  test("leaves a record alone that has a context already, or no room for one", async () => {
    await using node = await startTestNode();
    const world = fakeApi();
    await using client = connect(`127.0.0.1:${node.port}`, { tracing: world.api });
    await using producer = client.producer({ topic: "a" });
    await producer.send({ value: "1", headers: [{ key: "tracestate", value: "mine" }] });
    await producer.send({ value: "v".repeat(recordMaxBytes - tracingHeadersMaxBytes + 1) });
    await producer.send({ value: "v".repeat(recordMaxBytes - tracingHeadersMaxBytes) });
    world.carryMore(tracingHeadersMaxBytes - "traceparent".length - "t4-s4".length + 1);
    await producer.send({ value: "4" });
    const read = await recordsOf(client.consume({ topic: "a", stopsAtEnd: true }));
    assert.deepEqual(read.map(headersOf), [[["tracestate", "mine"]], [], [["traceparent", "t3-s3"]], []]);
    assert.ok(world.spans.every(({ endCount }) => endCount === 1));
  });

  test("sends and works on records also where its tracer fails", async () => {
    await using node = await startTestNode();
    const { api } = fakeApi();
    const fail = () => assert.fail("a tracer's fault");
    const failing: TracingApi = { ...api, context: { ...api.context, active: fail } };
    await using client = connect(`127.0.0.1:${node.port}`, { tracing: failing });
    await using producer = client.producer({ topic: "a" });
    assert.equal((await producer.send({ value: "1" })).offset, 0);
    const consumer = client.consume({ topic: "a", stopsAtEnd: true });
    const [record] = await recordsOf(consumer);
    assert.ok(record !== undefined);
    assert.equal(
      consumer.process(record, () => "done"),
      "done",
    );
  });
});

test("a client that doesn't trace leaves headers as they are, and works on records all the same", async () => {
  await using node = await startTestNode();
  await using client = connect(`127.0.0.1:${node.port}`);
  await using producer = client.producer({ topic: "a" });
  await producer.send({ value: "1" });
  const consumer = client.consume({ topic: "a", stopsAtEnd: true });
  const [record] = await recordsOf(consumer);
  assert.deepEqual(headersOf(record), []);
  assert.ok(record !== undefined);
  assert.equal(
    consumer.process(record, () => 7),
    7,
  );
});
