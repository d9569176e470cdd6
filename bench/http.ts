import { MiB } from "../src/base/units.ts";
import { parseConfig, startNode } from "../src/server/index.ts";
import { BareHttpServer } from "./bare-http-server.ts";
import type { Bench } from "./bench.ts";
import { Child } from "./child.ts";
import type { LoadPlan, LoadResult, LoadTarget } from "./process/http-load.ts";
import { type Row, rowOf } from "./row.ts";

/**
 * Producing and consuming over HTTP/1.1, a bare server of node:http doing the same bytes in turn. Both servers live in this
 * process, and the one that loads them in another: on two processors each side has one.
 */
export const http: Bench = {
  name: "http",
  about: "produce and consume over HTTP, against a bare server of node:http",
  async run({ scratch, choose }) {
    const rounds = choose({ quick: 2, default: 5, full: 11 });
    const config = parseConfig({
      flags: { "data-dir": scratch.directory("http"), "rpc-port": 0, "log-level": "silent" },
    });
    await using node = await startNode(config);
    const pathOf = (topic: string): string => `/v1/topics/${topic}/records`;
    const historyPath = pathOf("history");

    // Something to consume, and its answers for the bare server to give.
    const historyCount = choose({ quick: 50_000, default: 200_000, full: 1_000_000 });
    const perAnswer = 10_000;
    for (let count = 0; count < historyCount; count += perAnswer) {
      const response = await fetch(node.url + historyPath, { method: "POST", headers: lines, body: line.repeat(perAnswer) });
      if (response.status !== 200) throw new Error(`filling was answered with ${response.status}: ${await response.text()}`);
      await response.arrayBuffer();
    }
    const readPath = `${historyPath}?limit=${perAnswer}&maxBytes=${8 * MiB}&from={from}`;
    const bodies: Buffer[] = [];
    for (const headers of [{}, acceptLines]) {
      const response = await fetch(node.url + readPath.replace("{from}", "0"), { headers });
      bodies.push(Buffer.from(await response.arrayBuffer()));
    }
    const bare = await BareHttpServer.start(scratch.directory("bare-http"), bodies);

    const rows: Row[] = [];
    const small = { line: line.trimEnd(), count: 1 };
    const post = { method: "POST", headers: json, body: small } as const;

    const count = choose({ quick: 100, default: 300, full: 1000 });
    const [produced = [], echoed = [], synced = []] = await run(rounds, [
      { ...post, url: node.url, path: pathOf("one-by-one"), requests: count, connections: 1 },
      { ...post, url: bare.url, path: "/echo", requests: count, connections: 1 },
      { method: "GET", url: bare.url, path: `/syncs/${count}`, requests: 1, connections: 1 },
    ]);
    const p50s = produced.map(({ p50Ms }) => 1000 * p50Ms);
    const sums = echoed.map(({ p50Ms }, round) => 1000 * (p50Ms + Number(synced[round]?.text)));
    rows.push(
      rowOf({
        name: "HTTP produce one record of 100 B, one at a time, p50",
        unit: "µs",
        figures: p50s,
        ceilings: { what: "fdatasync p50 + bare node:http p50", figures: sums },
      }),
      rowOf({
        name: "HTTP produce one at a time, p50 above fdatasync p50 + bare node:http p50",
        unit: "µs",
        figures: p50s.map((p50, round) => p50 - (sums[round] ?? 0)),
        target: { of: "figure", atMost: 150 },
      }),
    );

    const calls = choose({ quick: 5_000, default: 20_000, full: 50_000 });
    rows.push(
      ...(await compare(rounds, {
        name: "HTTP produce one record of 100 B, 64 callers",
        ours: { ...post, url: node.url, path: pathOf("callers"), requests: calls, connections: 64 },
        bare: { ...post, url: bare.url, path: "/append", requests: calls, connections: 64 },
        recordsPerRequest: 1,
        what: "bare node:http, write + fdatasync",
      })),
    );

    const linesPerBody = Math.floor((4 * MiB) / line.length);
    const uploads = choose({ quick: 5, default: 20, full: 60 });
    const upload = { method: "POST", headers: lines, body: { line, count: linesPerBody }, requests: uploads } as const;
    rows.push(
      ...(await compare(rounds, {
        name: "HTTP produce NDJSON of 100 B records, bodies of 4 MiB, 2 connections",
        ours: { ...upload, url: node.url, path: `${pathOf("uploads")}?partition=0`, connections: 2 },
        bare: { ...upload, url: bare.url, path: "/lines", connections: 2 },
        recordsPerRequest: linesPerBody,
        what: "bare node:http, JSON.parse, write + fdatasync",
        bytes: {
          bare: { ...upload, url: bare.url, path: "/append", connections: 2 },
          perRequest: linesPerBody * line.length,
          what: "bare node:http, write + fdatasync",
        },
      })),
    );

    const reads = choose({ quick: 20, default: 60, full: 200 });
    for (const [number, { what, headers }] of [
      { what: "JSON", headers: {} },
      { what: "NDJSON", headers: acceptLines },
    ].entries()) {
      const get = { method: "GET", headers, requests: reads, connections: 1 } as const;
      rows.push(
        ...(await compare(rounds, {
          name: `HTTP consume ${what} of 100 B records, 10,000 an answer, catching up`,
          ours: { ...get, url: node.url, path: readPath, from: { step: perAnswer, end: historyCount } },
          bare: { ...get, url: bare.url, path: `/lists/${number}` },
          recordsPerRequest: perAnswer,
          what: "bare node:http, JSON.stringify",
          bytes: {
            bare: { ...get, url: bare.url, path: `/answers/${number}` },
            perRequest: bodies[number]?.length ?? 0,
            what: "bare node:http, the same bytes",
          },
        })),
      );
    }
    await bare.close();
    return rows;
  },
};

interface Comparison {
  readonly name: string;
  readonly ours: LoadTarget;
  readonly bare: LoadTarget;
  readonly recordsPerRequest: number;
  readonly what: string;
  /** Where it is given, there is a row in MB/s as well, and its ceiling looks at no byte. */
  readonly bytes?: { readonly bare: LoadTarget; readonly perRequest: number; readonly what: string };
}

async function compare(rounds: number, comparison: Comparison): Promise<Row[]> {
  const { name, ours, bare, recordsPerRequest, what, bytes } = comparison;
  const results = await run(rounds, bytes === undefined ? [ours, bare] : [ours, bare, bytes.bare]);
  const ratesOf = (target: number, perRequest: number): number[] =>
    (results[target] ?? []).map(({ seconds }) => (ours.requests * perRequest) / seconds);
  const rows = [
    rowOf({
      name,
      unit: "records/s",
      figures: ratesOf(0, recordsPerRequest),
      ceilings: { what, figures: ratesOf(1, recordsPerRequest) },
    }),
  ];
  if (bytes !== undefined) {
    const perRequest = bytes.perRequest / 1e6;
    rows.push(
      rowOf({
        name: `${name}, in bytes`,
        unit: "MB/s",
        figures: ratesOf(0, perRequest),
        ceilings: { what: bytes.what, figures: ratesOf(2, perRequest) },
      }),
    );
  }
  return rows;
}

/** The results of each target, round by round. */
async function run(rounds: number, targets: readonly LoadTarget[]): Promise<LoadResult[][]> {
  const plan: LoadPlan = { rounds, targets };
  const child = new Child("http-load", [JSON.stringify(plan)]);
  const results: LoadResult[][] = targets.map(() => []);
  for (let said = 0; said < rounds * targets.length; said += 1) {
    const result = await child.next<LoadResult>();
    results[result.target]?.push(result);
  }
  await child.kill();
  return results;
}

const line = `${JSON.stringify({ value: "0123456789abcdef".repeat(7).slice(0, 100) })}\n`;
const json = { "content-type": "application/json" };
const lines = { "content-type": "application/x-ndjson" };
const acceptLines = { accept: "application/x-ndjson" };
