import { basename } from "node:path";
import { spansMaxCount } from "../../base/limits.ts";
import type { Clock } from "../../base/clock.ts";
import { isProglogError } from "../../base/error.ts";
import type { Random } from "../../base/random.ts";
import type { RecordInput } from "../../batch/record.ts";
import type { LogObserver } from "../../replica/data-directory.ts";
import type { NodeStorage } from "../../replica/node-storage.ts";
import { describeResource, encodeAttributes, nanosOf, type OtlpResource } from "./otlp-metrics.ts";
import { findContextIn, findContextOf, type TraceContext } from "./trace-context.ts";

/** A span that is over. */
interface Span {
  readonly name: string;
  readonly kind: number;
  readonly context: TraceContext;
  readonly spanId: string;
  readonly endMs: number;
  readonly durationMs: number;
  readonly attributes: Readonly<Record<string, string | number>>;
  readonly error: unknown;
}

/**
 * What a node has to say in the traces of others: of records whose headers tell that their trace is kept, when they are appended, and when this node's
 * replica has them on its disk. It begins no trace by itself. Spans gather until they are fetched, up to a limit; those beyond are counted
 * and forgotten.
 */
export class NodeSpans {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #findReplica: NodeSpansParts["findReplica"];
  #spans: Span[] = [];
  #droppedCount = 0;

  constructor({ clock, random, findReplica }: NodeSpansParts) {
    this.#clock = clock;
    this.#random = random;
    this.#findReplica = findReplica;
  }

  /** Spans that there was no room for. */
  get droppedCount(): number {
    return this.#droppedCount;
  }

  /** Whether an append is to have a span: asked before it is made. */
  findContext(records: readonly RecordInput[], batch: Buffer | undefined): TraceContext | undefined {
    return batch === undefined ? findContextOf(records) : findContextIn(batch);
  }

  appended(context: TraceContext, { topic, partition, acks, durationMs, baseOffset, count, error }: AppendedSpan): void {
    this.#add({
      name: `append ${topic}`,
      kind: kinds.server,
      context,
      durationMs,
      attributes: {
        ...attributesOf(topic, partition),
        "proglog.acks": acks,
        ...(baseOffset === undefined ? {} : { "messaging.proglog.offset": baseOffset }),
        ...(count === undefined ? {} : { "messaging.batch.message_count": count }),
      },
      error,
    });
  }

  /** To be given to all logs. */
  readonly stored: NonNullable<LogObserver["stored"]> = ({ directory, batches, durationMs }) => {
    for (const batch of batches) {
      const context = findContextIn(batch);
      if (context === undefined) continue;
      const place = this.#findReplica(basename(directory))?.identity;
      if (place === undefined) continue;
      const { topic, partition } = place;
      this.#add({
        name: `write ${topic}`,
        kind: kinds.internal,
        context,
        durationMs,
        attributes: attributesOf(topic, partition),
        error: undefined,
      });
    }
  };

  /** An ExportTraceServiceRequest of what has gathered, which is then forgotten; undefined where there is nothing. */
  take(resource: OtlpResource): object | undefined {
    const spans = this.#spans;
    if (spans.length === 0) return undefined;
    this.#spans = [];
    const scopeSpans = [{ scope: { name: "proglog", version: resource.version }, spans: spans.map(encodeSpan) }];
    return { resourceSpans: [{ resource: { attributes: describeResource(resource) }, scopeSpans }] };
  }

  #add(span: Omit<Span, "spanId" | "endMs">): void {
    if (this.#spans.length >= spansMaxCount) this.#droppedCount += 1;
    else this.#spans.push({ ...span, spanId: this.#random.bytes(8).toString("hex"), endMs: this.#clock.now() });
  }
}

export interface NodeSpansParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly findReplica: (uuid: string) => ReturnType<NodeStorage["replicas"]["find"]>;
}

export interface AppendedSpan {
  readonly topic: string;
  /** Where it isn't known, nothing was appended. */
  readonly partition: number | undefined;
  readonly acks: string;
  readonly durationMs: number;
  /** Of what was appended. */
  readonly baseOffset?: number;
  readonly count?: number;
  /** Why nothing was. */
  readonly error?: unknown;
}

/** As OTLP numbers them. */
const kinds = { internal: 1, server: 2 };
const errorStatus = 2;

function attributesOf(topic: string, partition: number | undefined): Readonly<Record<string, string>> {
  return {
    ...{ "messaging.system": "proglog", "messaging.destination.name": topic },
    ...(partition === undefined ? {} : { "messaging.destination.partition.id": String(partition) }),
  };
}

function encodeSpan({ name, kind, context, spanId, endMs, durationMs, attributes, error }: Span): object {
  const failure = error === undefined ? {} : { "error.type": isProglogError(error) ? error.code : "INTERNAL" };
  return {
    ...{ traceId: context.traceId, spanId, parentSpanId: context.spanId, name, kind },
    startTimeUnixNano: nanosOf(endMs - durationMs),
    endTimeUnixNano: nanosOf(endMs),
    attributes: encodeAttributes({ ...attributes, ...failure }),
    ...(error === undefined ? {} : { status: { code: errorStatus } }),
  };
}
