import { isProglogError, messageOf } from "../base/error.ts";
import { recordMaxBytes, recordMaxHeaders, tracingHeadersMaxBytes } from "../base/limits.ts";
import { checkRecord, type RecordHeader, type RecordInput } from "../batch/record.ts";
import type { ConsumedRecord } from "./consumer.ts";

/**
 * What is used of OpenTelemetry's API. `import * as api from "@opentelemetry/api"` is one: who wants traces has it already, and who doesn't
 * needn't have it. Which spans are kept, and where they go, is for the SDK that the program registers.
 */
export interface TracingApi {
  readonly trace: {
    getTracer(name: string): TracingTracer;
    setSpan(context: TracingContext, span: TracingSpan): TracingContext;
  };
  readonly context: {
    active(): TracingContext;
    with<Result>(context: TracingContext, run: () => Result): Result;
  };
  readonly propagation: {
    inject(context: TracingContext, carrier: Record<string, string>): void;
    extract(context: TracingContext, carrier: Record<string, string>): TracingContext;
    /** Names of the headers that a context travels in. */
    fields(): string[];
  };
}

/** Whatever the API hands out as a context: it is handed back, and not looked at. */
export type TracingContext = unknown;

export interface TracingTracer {
  startSpan(name: string, options: TracingSpanOptions, context?: TracingContext): TracingSpan;
}

export interface TracingSpanOptions {
  readonly kind: number;
  readonly attributes: Record<string, string | number>;
}

export interface TracingSpan {
  setAttribute(key: string, value: string | number): unknown;
  setStatus(status: { readonly code: number; readonly message?: string }): unknown;
  end(): void;
}

/** A span of records on their way, and the records as they are to go: with its context in their headers. */
export interface SendingSpan {
  readonly records: readonly RecordInput[];
  sent(range: { readonly partition: number; readonly baseOffset: number }): void;
  failed(error: unknown): void;
}

/**
 * Spans for records that are sent and worked on, after OpenTelemetry's conventions for messaging. The context goes in the records' own headers,
 * so it outlives the log's nodes, and whoever reads a record later goes on in its trace. A fault of the tracer's harms nobody.
 */
export class Tracing {
  readonly #api: TracingApi;
  readonly #tracer: TracingTracer;

  constructor(api: TracingApi) {
    this.#api = api;
    this.#tracer = api.trace.getTracer("proglog");
  }

  /** Undefined where the tracer fails: then they go as they are. */
  startSending(topic: string, records: readonly RecordInput[]): SendingSpan | undefined {
    return safely(() => {
      const { context, propagation, trace } = this.#api;
      const active = context.active();
      const attributes = {
        ...attributesOf(topic, "send"),
        ...(records.length === 1 ? {} : { "messaging.batch.message_count": records.length }),
      };
      const span = this.#tracer.startSpan(`send ${topic}`, { kind: kinds.producer, attributes }, active);
      const carrier: Record<string, string> = {};
      propagation.inject(trace.setSpan(active, span), carrier);
      const headers = Object.entries(carrier).map(([key, value]): RecordHeader => ({ key, value }));
      const fields = propagation.fields();
      return {
        records: records.map((record) => withHeaders(record, headers, fields)),
        sent({ partition, baseOffset }) {
          safely(() => {
            span.setAttribute("messaging.destination.partition.id", String(partition));
            span.setAttribute("messaging.proglog.offset", baseOffset);
            span.end();
          });
        },
        failed(error) {
          safely(() => endFailed(span, error));
        },
      };
    });
  }

  /** Runs `run` in a span that goes on where the record's headers say that it came from. */
  process<Result>({ topic, partition, offset, headers }: ConsumedRecord, run: () => Result): Result {
    const begun = safely(() => {
      const { context, propagation, trace } = this.#api;
      const carrier: Record<string, string> = {};
      const fields = propagation.fields();
      for (const { key, value } of headers) if (value !== null && fields.includes(key)) carrier[key] ??= value.toString();
      const parent = propagation.extract(context.active(), carrier);
      const attributes = {
        ...attributesOf(topic, "process"),
        "messaging.destination.partition.id": String(partition),
        "messaging.proglog.offset": offset,
      };
      const span = this.#tracer.startSpan(`process ${topic}`, { kind: kinds.consumer, attributes }, parent);
      return { span, context: trace.setSpan(parent, span) };
    });
    if (begun === undefined) return run();
    const { span } = begun;
    let result: Result;
    try {
      result = this.#api.context.with(begun.context, run);
    } catch (error) {
      safely(() => endFailed(span, error));
      throw error;
    }
    if (!(result instanceof Promise)) {
      safely(() => span.end());
      return result;
    }
    // What it rejects with is its own caller's to hear.
    result.then(
      () => safely(() => span.end()),
      (error: unknown) => safely(() => endFailed(span, error)),
    );
    return result;
  }
}

/** As the API numbers them. */
const kinds = { producer: 3, consumer: 4 };
const errorStatus = 2;

function attributesOf(topic: string, operation: "send" | "process"): Record<string, string | number> {
  return {
    "messaging.system": "proglog",
    "messaging.operation.name": operation,
    "messaging.operation.type": operation,
    "messaging.destination.name": topic,
  };
}

function endFailed(span: TracingSpan, error: unknown): void {
  const type = isProglogError(error) ? error.code : error instanceof Error ? error.name : "unknown";
  span.setAttribute("error.type", type);
  span.setStatus({ code: errorStatus, message: messageOf(error) });
  span.end();
}

/** One that has a context already is passed on with it; one that would become too large goes without. */
function withHeaders(record: RecordInput, headers: readonly RecordHeader[], fields: readonly string[]): RecordInput {
  const own = record.headers ?? [];
  if (headers.length === 0 || own.some(({ key }) => fields.includes(key))) return record;
  if (own.length + headers.length > recordMaxHeaders || checkRecord(record) + tracingHeadersMaxBytes > recordMaxBytes)
    return record;
  const bytes = headers.reduce((sum, { key, value }) => sum + key.length + (value?.length ?? 0), 0);
  return bytes > tracingHeadersMaxBytes ? record : { ...record, headers: [...own, ...headers] };
}

function safely<Result>(run: () => Result): Result | undefined {
  try {
    return run();
  } catch {
    // A tracer that fails is no reason for a record not to be sent, and there is nobody here to tell.
    return undefined;
  }
}
