import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { KiB } from "../src/base/units.ts";
import type { Bench } from "./bench.ts";
import { Child } from "./child.ts";
import { type GrpcSide, grpcMethods } from "./grpc-methods.ts";
import { type Row, type RowSamples, rowOf } from "./row.ts";

/**
 * Our gRPC layer against grpc-js, each with a server process of its own that both serve the same, and clients that take turns. The
 * limits that it was built for stand as targets: below them grpc-js would have been taken.
 */
export const grpcLayer: Bench = {
  name: "grpc-layer",
  about: "unary calls and streams, against grpc-js",
  async run({ scratch, choose, skip }) {
    const rounds = choose({ quick: 2, default: 5, full: 9 });
    const share = choose({ quick: 0.2, default: 1, full: 2 });
    const directory = scratch.directory("grpc");
    const servers = { ours: new Child("grpc-server", ["ours"]), "grpc-js": new Child("grpc-server", ["grpc-js"]) };
    const ports = {
      ours: (await servers.ours.next<{ port: number }>()).port,
      "grpc-js": (await servers["grpc-js"].next<{ port: number }>()).port,
    };
    const byClient = async (side: GrpcSide, what: string, count: number): Promise<number> => {
      const client = new Child("grpc-client", [side, `${ports[side]}`, what, `${Math.ceil(count * share)}`]);
      const { perSecond } = await client.next<{ perSecond: number }>();
      await client.kill();
      return perSecond;
    };
    const compare = async (measure: (side: GrpcSide) => Promise<number>): Promise<Pick<RowSamples, "figures" | "ceilings">> => {
      const figures: number[] = [];
      const ceilings: number[] = [];
      for (let round = 0; round < rounds; round += 1) {
        const order = round % 2 === 0 ? (["ours", "grpc-js"] as const) : (["grpc-js", "ours"] as const);
        for (const side of order) (side === "ours" ? figures : ceilings).push(await measure(side));
      }
      return { figures, ceilings: { what: "grpc-js", figures: ceilings } };
    };
    const rows: Row[] = [];
    try {
      if (hasH2load()) {
        const body = join(directory, "body");
        writeFileSync(body, Buffer.concat([Buffer.from([0, 0, 0, 0, 100]), Buffer.alloc(100, "x")]));
        rows.push(
          rowOf({
            name: "gRPC unary of 100 B, 64 at a time, h2load",
            unit: "calls/s",
            ...(await compare((side) => Promise.resolve(h2load(ports[side], body, Math.ceil(40_000 * share))))),
            target: { of: "ratio", atLeast: 1.3 },
          }),
        );
      } else {
        skip("gRPC unary by a native load generator", "there is no h2load (nghttp2-client)");
      }
      rows.push(
        rowOf({
          name: "gRPC unary of 100 B, 64 at a time, own client",
          unit: "calls/s",
          ...(await compare((side) => byClient(side, "unary", 20_000))),
          target: { of: "ratio", atLeast: 2 },
        }),
        rowOf({
          name: "gRPC unary of 100 B, one at a time, own client",
          unit: "calls/s",
          ...(await compare((side) => byClient(side, "one-by-one", 3_000))),
        }),
        rowOf({
          name: "gRPC upload of 64 KiB messages, own client",
          unit: "MB/s",
          ...(await compare(async (side) => ((await byClient(side, "upload", 5_000)) * 64 * KiB) / 1e6)),
          target: { of: "ratio", atLeast: 3 },
        }),
        rowOf({
          name: "gRPC stream both ways, 100 B, 64 callers, own client",
          unit: "messages/s",
          ...(await compare((side) => byClient(side, "chat", 50_000))),
        }),
      );
    } finally {
      await Promise.all(Object.values(servers).map((server) => server.kill()));
      scratch.remove(directory);
    }
    return rows;
  },
};

function hasH2load(): boolean {
  try {
    execFileSync("h2load", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

function h2load(port: number, body: string, count: number): number {
  const url = `http://127.0.0.1:${port}${grpcMethods.unary.path}`;
  const headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"];
  const output = execFileSync("h2load", ["-n", `${count}`, "-c", "1", "-m", "64", "-d", body, ...headers, url], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  const [, perSecond] = /finished in [^,]+, ([0-9.]+) req\/s/.exec(output) ?? [];
  if (!output.includes(` ${count} succeeded`) || perSecond === undefined) throw new Error(`h2load failed: ${output}`);
  return Number(perSecond);
}
