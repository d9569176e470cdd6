import { otlpGraceMs, spansIntervalMs } from "../../base/limits.ts";
import type { Clock } from "../../base/clock.ts";
import type { Logger } from "../../base/logger.ts";
import type { Config } from "../config.ts";
import type { NodeSpans } from "./node-spans.ts";
import { encodeMetrics, type MetricValues, type OtlpResource } from "./otlp-metrics.ts";
import { OtlpPush, type PushOutcome } from "./otlp-push.ts";

/** What a node pushes to a collector, where one is configured: its metrics, and spans where there are any. */
export class Telemetry {
  readonly #pushes: readonly OtlpPush[];

  constructor(config: Config, { clock, logger, resource, collect, spans, onPushed }: TelemetryParts) {
    const { otlpEndpoint: endpoint, otlpHeaders: headers, otlpIntervalMs } = config;
    if (endpoint === null) {
      this.#pushes = [];
      return;
    }
    const common = { clock, logger, target: { endpoint, headers } };
    const startMs = clock.now();
    const metrics = new OtlpPush({
      ...{ ...common, signal: "metrics", intervalMs: otlpIntervalMs },
      collect: async () => encodeMetrics(await collect(), resource(), { startMs, nowMs: clock.now() }),
      onPushed: (outcome) => onPushed("metrics", outcome),
    });
    if (spans === undefined) {
      this.#pushes = [metrics];
      return;
    }
    const traces = new OtlpPush({
      ...{ ...common, signal: "traces", intervalMs: spansIntervalMs },
      collect: async () => spans.take(resource()),
      onPushed: (outcome) => onPushed("traces", outcome),
    });
    this.#pushes = [metrics, traces];
  }

  /** Pushes what there is and ends; without `isLast` it just ends. Twice is fine. */
  async close({ isLast }: { readonly isLast: boolean }): Promise<void> {
    await Promise.all(this.#pushes.map((push) => push.close(isLast ? otlpGraceMs : 0)));
  }
}

export interface TelemetryParts {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Asked for at each push: the instance may not be known before. */
  readonly resource: () => OtlpResource;
  readonly collect: () => Promise<readonly MetricValues[]>;
  readonly spans: NodeSpans | undefined;
  readonly onPushed: (signal: "metrics" | "traces", outcome: PushOutcome) => void;
}
