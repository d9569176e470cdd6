import { type MetricDescription, Metrics } from "../../src/server/metrics.ts";

/** All metrics that a node can have, whatever it is a node of. */
export function listMetrics(): readonly MetricDescription[] {
  const metrics = new Metrics();
  try {
    // What is watched is asked at a scrape, and none comes: to know the names, nothing has to be there. Each `watch…` adds some.
    const watchers = metrics as unknown as Readonly<Record<string, (parts: object) => void>>;
    const names = Object.getOwnPropertyNames(Metrics.prototype).filter((name) => name.startsWith("watch"));
    for (const name of names) watchers[name]?.call(metrics, {});
    return metrics.list().toSorted((a, b) => (a.name < b.name ? -1 : 1));
  } finally {
    metrics.close();
  }
}

export function metricsPage(): string {
  const rows = listMetrics().map(({ name, type, labels, help }) => {
    return `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(", ")} | ${help.replaceAll("|", "\\|")} |\n`;
  });
  return `What \`GET /metrics\` tells, in Prometheus' text. A histogram has \`_bucket\`, \`_sum\` and \`_count\`; seconds and bytes are what they are called. Those of groups, peers and the catalog are there on nodes of a cluster. Which to watch, and when to be alarmed: [operating.md](operating.md#starting-and-stopping); dashboard and alert rules: \`deploy/observability/\`.

Labels are bounded: \`topic\` and \`partition\` to the first 1,000 partitions of a node, \`node\` to the nodes of the cluster, \`route\` to the routes there are, \`code\`, \`reason\` and the rest to closed lists.

| metric | kind | labels | |
|---|---|---|---|
${rows.join("")}`;
}
