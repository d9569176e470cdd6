import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { appendQueueMaxBytes } from "../src/base/limits.ts";
import { replicaStates } from "../src/replica/replica.ts";
import { groupRoles } from "../src/server/cluster-metrics.ts";
import { errorTable } from "../src/wire/error-table.ts";
import { listMetrics } from "./reference/metrics-page.ts";
import { repository } from "./source-code.ts";

/** What deploy/observability asks of Prometheus, held to what a node tells: a panel of a metric that was renamed shows nothing, and an alert of one never comes. */

const read = (path: string): string => readFileSync(join(repository, path), "utf8");
const metrics = new Map(listMetrics().map((metric) => [metric.name, metric]));

/** What is wrong with an expression, as far as names go. */
function faultsOf(expression: string): readonly string[] {
  const faults: string[] = [];
  const known = new Set(["job", "instance"]);
  const bare = expression.replaceAll(/"[^"]*"/g, '""');
  for (const [open, close] of ["()", "{}", "[]"])
    if (bare.split(open ?? "").length !== bare.split(close ?? "").length) faults.push(`${open}${close} aren't balanced`);
  for (const [, name = "", selector = ""] of expression.matchAll(/\b((?:proglog|process)_[a-z0-9_]+)(?:\{([^}]*)\})?/g)) {
    const base = name.replace(/_(bucket|sum|count)$/, "");
    const metric = metrics.get(name) ?? metrics.get(base);
    if (metric === undefined) {
      faults.push(`there is no metric ${name}`);
      continue;
    }
    if ((metric.type === "histogram") !== (metric.name !== name))
      faults.push(`${name} isn't how a ${metric.type} is asked for`);
    if (name.endsWith("_bucket")) known.add("le");
    for (const label of metric.labels) known.add(label);
    for (const [, label = "", values = ""] of selector.matchAll(/([a-z]+)\s*[=!]~?\s*"([^"]*)"/g)) {
      if (!["job", "instance", ...metric.labels].includes(label)) faults.push(`${name} has no label ${label}`);
      faults.push(...unknownValues(label, values));
    }
    const isCounted = /^(rate|increase)\($/.test(expression.slice(0, expression.indexOf(name)).match(/[a-z_]+\($/)?.[0] ?? "");
    if (isCounted && metric.type === "gauge") faults.push(`${name} is a gauge, and has no rate`);
  }
  for (const [, list = ""] of expression.matchAll(/\bby \(([^)]*)\)/g))
    for (const label of list.split(",").map((one) => one.trim()))
      if (!known.has(label)) faults.push(`there is nothing by ${label}`);
  return faults;
}

/** Of labels whose values are a closed list. */
function unknownValues(label: string, pattern: string): readonly string[] {
  const lists: Readonly<Record<string, readonly string[]>> = {
    code: Object.keys(errorTable),
    role: groupRoles,
    state: replicaStates,
  };
  const values = lists[label];
  if (values === undefined || pattern.startsWith("$")) return [];
  return pattern.split("|").flatMap((value) => (values.includes(value) ? [] : [`${label} is never ${value}`]));
}

describe("the check of expressions", () => {
  for (const [expression, fault] of [
    ["rate(proglog_gone_total[5m])", "there is no metric proglog_gone_total"],
    ["proglog_tails)", "() aren't balanced"],
    ['proglog_tails{topic="a"}', "proglog_tails has no label topic"],
    ['proglog_errors_total{code="GONE"}', "code is never GONE"],
    ["sum by (topic) (proglog_tails)", "there is nothing by topic"],
    ["rate(proglog_tails[5m])", "proglog_tails is a gauge, and has no rate"],
    ["proglog_log_sync_duration_seconds", "proglog_log_sync_duration_seconds isn't how a histogram is asked for"],
  ] as const)
    test(`finds that ${fault}`, () => {
      assert.deepEqual(faultsOf(expression), [fault]);
    });
});

describe("the alert rules", () => {
  const text = read("deploy/observability/alerts.yaml");
  const rules = text.split(/^ {6}- alert: /m).slice(1);
  const nameOf = (rule: string): string => rule.split("\n", 1)[0] ?? "";

  test("name metrics, labels and values that there are", () => {
    assert.ok(rules.length > 20);
    for (const rule of rules) {
      const expression = /^ {8}expr: (.+)$/m.exec(rule)?.[1];
      assert.ok(expression !== undefined, nameOf(rule));
      assert.deepEqual(faultsOf(expression), [], nameOf(rule));
    }
    assert.equal(new Set(rules.map(nameOf)).size, rules.length);
  });

  test("say how grave it is, what is the case, and which part of the documents helps", () => {
    for (const rule of rules) {
      assert.match(rule, /^ {8}labels: \{ severity: (critical|warning|info) \}$/m, nameOf(rule));
      assert.match(rule, /^ {10}summary: ".+"$/m, nameOf(rule));
      const [, path = "", anchor = ""] = /^ {10}runbook: "(docs\/[a-z-]+\.md)#([a-z0-9_-]+)"$/m.exec(rule) ?? [];
      const anchors = [...read(path).matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) => anchorOf(title));
      assert.ok(anchors.includes(anchor), `${nameOf(rule)}: ${path}#${anchor}`);
    }
  });

  test("know the limit that they watch", () => {
    assert.ok(text.includes(`(proglog_log_queued_bytes) > ${0.75 * appendQueueMaxBytes}\n`));
  });
});

describe("the dashboard", () => {
  const dashboard = JSON.parse(read("deploy/observability/grafana-dashboard.json")) as Dashboard;

  test("asks for metrics, labels and values that there are", () => {
    const targets = dashboard.panels.flatMap(({ title, targets: own = [] }) => own.map((target) => ({ title, ...target })));
    assert.ok(targets.length > 40);
    for (const { title, expr, legendFormat } of targets) {
      assert.deepEqual(faultsOf(expr), [], title);
      for (const [, label = ""] of legendFormat.matchAll(/\{\{(\w+)\}\}/g))
        assert.ok(isTold(expr, label), `${title}: {{${label}}}`);
    }
    for (const { query } of dashboard.templating.list)
      if (typeof query !== "string") assert.deepEqual(faultsOf(query.query.replace(/^label_values\((.+),.+\)$/, "$1")), []);
  });

  test("has each panel in a place of its own", () => {
    const ids = dashboard.panels.map(({ id }) => id);
    assert.equal(new Set(ids).size, ids.length);
    const cells = dashboard.panels.flatMap(({ gridPos: { x, y, w, h } }) => {
      assert.ok(x + w <= 24);
      return Array.from({ length: w * h }, (_, cell) => `${x + (cell % w)},${y + Math.floor(cell / w)}`);
    });
    assert.equal(new Set(cells).size, cells.length);
  });
});

/** Whether a series of the expression still has the label: summed up by it, or not summed up. */
function isTold(expression: string, label: string): boolean {
  const by = [...expression.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, list = ""]) => list.split(",").map((one) => one.trim()));
  if (by.length > 0) return by.includes(label);
  const named = [...expression.matchAll(/\bproglog_[a-z0-9_]+/g)].flatMap(([name]) => metrics.get(name)?.labels ?? []);
  return ["job", "instance", ...named].includes(label);
}

/** As the pages that show Markdown make it of a heading. */
function anchorOf(title: string): string {
  return title
    .toLowerCase()
    .replaceAll(/[^\w\- ]/g, "")
    .replaceAll(" ", "-");
}

interface Dashboard {
  readonly panels: readonly {
    readonly id: number;
    readonly title: string;
    readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
    readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
  }[];
  readonly templating: { readonly list: readonly { readonly query: string | { readonly query: string } }[] };
}
