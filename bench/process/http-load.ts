import { HttpConnection } from "../http-connection.ts";
import { medianOf } from "../spread.ts";
import { say } from "./say.ts";

/** What `argv[2]` says in JSON: the targets take turns, round by round, and a first round is for warming up. */
export interface LoadPlan {
  readonly rounds: number;
  readonly targets: readonly LoadTarget[];
}

export interface LoadTarget {
  readonly url: string;
  readonly method: "GET" | "POST";
  /** `{from}` in it is 0 with the first request, and `step` more with each, up to `end`; then 0 again. */
  readonly path: string;
  readonly from?: { readonly step: number; readonly end: number };
  readonly headers?: Readonly<Record<string, string>>;
  /** This line, so many times. */
  readonly body?: { readonly line: string; readonly count: number };
  readonly requests: number;
  /** Each sends its next request when it is answered. */
  readonly connections: number;
}

/** What is said of each target in each round. */
export interface LoadResult {
  readonly target: number;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly receivedBytes: number;
  /** The beginning of the last answer. */
  readonly text: string;
}

const plan = JSON.parse(process.argv[2] ?? "") as LoadPlan;
for (let round = -1; round < plan.rounds; round += 1) {
  const numbers = [...plan.targets.keys()];
  if (round % 2 !== 0) numbers.reverse();
  for (const number of numbers) {
    const target = plan.targets[number];
    if (target === undefined) continue;
    const result = await load(target, number);
    if (round >= 0) say(result);
  }
}

async function load(target: LoadTarget, number: number): Promise<LoadResult> {
  const url = new URL(target.url);
  const connections = await Promise.all(Array.from({ length: target.connections }, () => HttpConnection.open(url)));
  const body = Buffer.from(target.body === undefined ? "" : target.body.line.repeat(target.body.count));
  const fixed = target.from === undefined ? requestOf(target, url, body, 0) : undefined;
  const durations: number[] = [];
  let receivedBytes = 0;
  let text = "";
  let next = 0;
  const start = performance.now();
  await Promise.all(
    connections.map(async (connection) => {
      while (next < target.requests) {
        const { step, end } = target.from ?? { step: 0, end: 1 };
        const request = fixed ?? requestOf(target, url, body, (next * step) % end);
        next += 1;
        const asked = performance.now();
        const answer = await connection.ask(request);
        durations.push(performance.now() - asked);
        if (answer.status !== 200) throw new Error(`${target.path} was answered with ${answer.status}: ${answer.text}`);
        receivedBytes += answer.bodyBytes;
        text = answer.text;
      }
    }),
  );
  const seconds = (performance.now() - start) / 1000;
  for (const connection of connections) connection.close();
  return { target: number, seconds, p50Ms: medianOf(durations), receivedBytes, text: text.slice(0, 100) };
}

function requestOf(target: LoadTarget, url: URL, body: Buffer, from: number): Buffer {
  const headers = {
    host: url.host,
    ...(target.body !== undefined && { "content-length": `${body.length}` }),
    ...target.headers,
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const head = `${target.method} ${target.path.replace("{from}", `${from}`)} HTTP/1.1\r\n${lines.join("")}\r\n`;
  return Buffer.concat([Buffer.from(head), body]);
}
