import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { connect } from "../src/client/index.ts";
import { encodeProduceRequest } from "../src/wire/produce-message.ts";
import type { BenchContext } from "./bench.ts";
import { findPeer } from "./peers/peers.ts";
import { startProglog } from "./peers/proglog.ts";
import { findProgram, listFolders } from "./peers/peer.ts";
import { type Row, rowOf } from "./row.ts";

/**
 * Unary Produce under a load generator that costs little: nghttp2's `h2load`, which sends the same request again and again. It
 * doesn't read trailers, so how many records were appended is asked afterwards. Beside it a bare server of node:http2.
 */
export async function loadUnary({ scratch, choose, skip, peersFolder }: BenchContext): Promise<Row[]> {
  const name = "unary Produce of 100 B under h2load, sync never";
  const program = findProgram("h2load", listFolders(peersFolder));
  if (program === undefined) {
    skip(`MISSING h2load: ${name}`, "it is in Debian's package nghttp2-client");
    return [];
  }
  const rounds = choose({ quick: 2, default: 5, full: 11 });
  const requests = choose({ quick: 10_000, default: 40_000, full: 100_000 });
  const topic = "unary";
  const message = encodeProduceRequest({
    topic,
    record: { value: Buffer.alloc(100, "0123456789abcdef") },
    records: [],
    acks: "quorum",
    answersErrors: false,
  });
  const body = join(scratch.path, "produce-request");
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  writeFileSync(body, Buffer.concat([prefix, message]));

  const node = await startProglog(scratch.directory("unary"), ["--sync", "never"]);
  const bare = await (await findPeer("bare-unary").find([]))?.start(scratch.directory("bare"), "default");
  if (bare === undefined) throw new Error("the bare server is part of this checkout");
  try {
    await using client = connect(node.address);
    await client.createTopic(topic);
    const figures: number[] = [];
    const ceilings: number[] = [];
    for (let round = 0; round <= rounds; round += 1) {
      const rate = await load(program, { address: node.address, requests, body });
      const ceiling = await load(program, { address: bare.address, requests, body });
      if (round === 0) continue;
      figures.push(rate);
      ceilings.push(ceiling);
    }
    const { partitions } = await client.describeTopic(topic);
    const appended = partitions[0]?.highWatermark;
    if (appended !== (rounds + 1) * requests)
      throw new Error(`of ${(rounds + 1) * requests} requests ${appended} appended a record`);
    return [
      rowOf({
        name,
        unit: "calls/s",
        figures,
        ceilings: { what: "bare node:http2", figures: ceilings },
        target: { of: "figure", atLeast: 15_000 },
        note: "4 connections, 64 requests at once on each",
      }),
    ];
  } finally {
    await bare.stop();
    await node.stop();
  }
}

/** Requests a second. Throws when one wasn't answered with 2xx. */
async function load(
  program: string,
  { address, requests, body }: { readonly address: string; readonly requests: number; readonly body: string },
): Promise<number> {
  const headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"];
  const parameters = [
    "-n",
    `${requests}`,
    "-c",
    "4",
    "-m",
    "64",
    "-d",
    body,
    ...headers,
    `http://${address}/log.v1.Log/Produce`,
  ];
  const { stdout } = await promisify(execFile)(program, parameters);
  const rate = Number(/finished in .*?, ([\d.]+) req\/s/.exec(stdout)?.[1]);
  const succeeded = Number(/(\d+) succeeded/.exec(stdout)?.[1]);
  if (succeeded !== requests || Number.isNaN(rate)) throw new Error(`h2load: ${stdout}`);
  return rate;
}
