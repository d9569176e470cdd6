import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { connect } from "../../src/client/index.ts";

/**
 * Three nodes of one cluster on this machine, in the foreground: `run.ts [--data-dir PATH] [--port FIRST]`. Ctrl-C ends all three. One
 * that is killed is started again a little later, so that one can watch it come back.
 */
const nodesCount = 3;
const restartAfterMs = 10_000;

const { values: flags } = parseArgs({
  options: { "data-dir": { type: "string", default: "./data/cluster" }, port: { type: "string", default: "8001" } },
});
const root = join(import.meta.dirname, "../..");
const ports = Array.from({ length: nodesCount }, (_, number) => Number(flags.port) + number);
const addresses = ports.map((port) => `127.0.0.1:${port}`);
const processes = new Map<number, ChildProcess>();
const stopping = new AbortController();

for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => stopping.abort());
// Whatever ends this process, the nodes don't stay behind; they are ended by their process ids.
process.on("exit", () => {
  for (const node of processes.values()) node.kill("SIGKILL");
});

const running = ports.map((_, number) => keepRunning(number));
await tellWhenReady().catch((error: unknown) => {
  if (!stopping.signal.aborted) throw error;
});
await Promise.all(running);

async function keepRunning(number: number): Promise<void> {
  while (!stopping.signal.aborted) {
    const node = start(number);
    const end = (): void => void node.kill("SIGTERM");
    stopping.signal.addEventListener("abort", end, { once: true });
    const [code, signal] = (await once(node, "exit")) as [number | null, NodeJS.Signals | null];
    stopping.signal.removeEventListener("abort", end);
    processes.delete(number);
    if (stopping.signal.aborted) return;
    say(`${nameOf(number)} ended (${signal ?? code}), and starts again in ${restartAfterMs / 1000} s`);
    await pause(restartAfterMs, undefined, { signal: stopping.signal }).catch(() => {});
  }
}

function start(number: number): ChildProcess {
  const parameters = [
    ...["serve", "--node-name", nameOf(number), "--rpc-port", `${ports[number]}`, "--log-level", "warn"],
    ...["--data-dir", join(flags["data-dir"], nameOf(number))],
    ...["--initial-nodes", `${nodesCount}`, "--start-join-addrs", addresses.join(",")],
  ];
  const node = spawn(join(root, "bin/proglog"), parameters, { stdio: ["ignore", "ignore", "pipe"] });
  processes.set(number, node);
  node.stderr?.on("data", (lines: Buffer) => {
    for (const line of lines.toString().trimEnd().split("\n")) say(`${nameOf(number)}: ${line}`);
  });
  return node;
}

/** What to try, once somebody leads. */
async function tellWhenReady(): Promise<void> {
  const client = connect(addresses);
  try {
    const leader = await findLeader(client);
    const server = `--server ${addresses.join(",")}`;
    const process = processes.get(ports.findIndex((_, number) => nameOf(number) === leader));
    say(`${nodesCount} nodes, one cluster. ${leader} leads its catalog. In another terminal:

  echo hello | ./bin/proglog produce ${server} --topic orders
  ./bin/proglog consume ${server} --topic orders --from start --follow

  kill ${leader}, and watch the others go on (it comes back after ${restartAfterMs / 1000} s):
  kill -9 ${process?.pid}; ./bin/proglog cluster status --watch ${server}

Ctrl-C ends all of them. Their data stays in ${flags["data-dir"]}.
`);
  } finally {
    await client.close();
  }
}

async function findLeader(client: ReturnType<typeof connect>): Promise<string> {
  for (;;) {
    stopping.signal.throwIfAborted();
    const servers = await client.getServers().catch(() => []);
    const leader = servers.find(({ isLeader }) => isLeader);
    if (servers.length === nodesCount && leader !== undefined) return leader.id;
    await pause(100);
  }
}

function nameOf(number: number): string {
  return `n${number + 1}`;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
