import assert from "node:assert/strict";
import { test } from "node:test";
import { spansMaxCount } from "../../base/limits.ts";
import { ProglogError } from "../../base/error.ts";
import { encodeBatch } from "../../batch/encode-batch.ts";
import type { Replica } from "../../replica/replica.ts";
import { NodeSpans } from "./node-spans.ts";

const context = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" };
const headers = [{ key: "traceparent", value: `00-${context.traceId}-${context.spanId}-01` }];
const resource = { version: "1", instanceId: "n1" };

function begin(): NodeSpans {
  let drawn = 0;
  return new NodeSpans({
    clock: { now: () => 10_000, monotonic: () => 0, setTimer: () => ({ cancel: () => {} }), turn: async () => {} },
    random: { bytes: (count) => Buffer.alloc(count, (drawn += 1)), float: () => 0 },
    findReplica: (uuid) => (uuid === "u1" ? ({ identity: { topic: "a", partition: 3, uuid } } as Replica) : undefined),
  });
}

interface Message {
  readonly resourceSpans: readonly { readonly scopeSpans: readonly { readonly spans: readonly Record<string, unknown>[] }[] }[];
}

function spansOf(spans: NodeSpans): readonly Record<string, unknown>[] {
  const message = spans.take(resource) as Message | undefined;
  return message?.resourceSpans[0]?.scopeSpans[0]?.spans ?? [];
}

const text = (key: string, stringValue: string) => ({ key, value: { stringValue } });

test("an append is a span below the record's, from when it was handed over until it was answered", () => {
  const spans = begin();
  assert.deepEqual(spans.findContext([{ value: "v", headers }], undefined), context);
  spans.appended(context, { topic: "a", partition: 3, acks: "quorum", durationMs: 1.5, baseOffset: 7, count: 2 });
  assert.deepEqual(spansOf(spans), [
    {
      ...{ traceId: context.traceId, spanId: "0101010101010101", parentSpanId: context.spanId, name: "append a", kind: 2 },
      ...{ startTimeUnixNano: "9998500000", endTimeUnixNano: "10000000000" },
      attributes: [
        ...[
          text("messaging.system", "proglog"),
          text("messaging.destination.name", "a"),
          text("messaging.destination.partition.id", "3"),
        ],
        text("proglog.acks", "quorum"),
        { key: "messaging.proglog.offset", value: { intValue: "7" } },
        { key: "messaging.batch.message_count", value: { intValue: "2" } },
      ],
    },
  ]);
  assert.equal(spans.take(resource), undefined, "what was taken is gone");
});

test("one that fails says why", () => {
  const spans = begin();
  const error = new ProglogError("OVERLOADED", "Cannot append: too much waits");
  spans.appended(context, { topic: "a", partition: undefined, acks: "none", durationMs: 0, error });
  const [span] = spansOf(spans);
  assert.deepEqual(span?.["status"], { code: 2 });
  assert.ok(JSON.stringify(span?.["attributes"]).includes('{"key":"error.type","value":{"stringValue":"OVERLOADED"}}'));
});

test("each batch that is stored is a span where its trace is kept, of the partition whose log it is", () => {
  const spans = begin();
  const [traced, plain] = [headers, []].map((all) => encodeBatch([{ value: "v", headers: all }], { now: 1 }));
  const batches = [traced, plain, traced].filter((batch) => batch !== undefined);
  spans.stored({ directory: "/data/logs/u1", batches, durationMs: 2 });
  spans.stored({ directory: "/data/logs/gone", batches, durationMs: 2 });
  assert.deepEqual(
    spansOf(spans).map(({ name, kind, parentSpanId }) => [name, kind, parentSpanId]),
    Array.from({ length: 2 }, () => ["write a", 1, context.spanId]),
  );
});

test("spans beyond the limit are counted and forgotten", () => {
  const spans = begin();
  const append = (): void => spans.appended(context, { topic: "a", partition: 0, acks: "quorum", durationMs: 0 });
  for (let i = 0; i < spansMaxCount; i += 1) append();
  assert.equal(spans.droppedCount, 0);
  append();
  assert.equal(spans.droppedCount, 1);
  assert.equal(spansOf(spans).length, spansMaxCount);
  append();
  assert.equal(spansOf(spans).length, 1);
});
