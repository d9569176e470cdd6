import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { hostFaults } from "./host-faults.ts";
import { reasonAgainst, runTool } from "./tool.ts";

/**
 * Proves a cluster on a host's own faults: `run.ts [--minutes 10] [--seed 123] [--only power]`, as root. Its nodes, their networks
 * and disks live in namespaces of processes, mounts and networks that are made for it: when that process ends, killed or not, the kernel
 * takes all of it away, and nothing of it is ever seen outside. Where the host doesn't let it, it says so and is skipped. docs/testing.md has
 * what it does.
 */
const tools = ["unshare", "nsenter", "ip", "mount", "umount", "mkfs.ext4", "fallocate"];
const unshared = ["--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"];

process.exitCode = await main();

async function main(): Promise<number> {
  const text = { type: "string", default: "" } as const;
  const { values } = parseArgs({ options: { minutes: text, seed: text, only: text } });
  const { only } = values;
  const minutes = Number(values.minutes || "10");
  if (!(minutes > 0)) return refuse(`MINUTES is a number above 0: ${values.minutes}`);
  if (!hostFaults.some(({ title }) => title.includes(only))) return refuse(`ONLY is a part of a fault's title: ${only}`);
  const lack = findLack();
  if (lack !== undefined) {
    console.log(`SKIPPED prove-host: ${lack}`);
    return 0;
  }
  const folder = mkdtempSync(join(tmpdir(), "proglog-host-"));
  const seed = values.seed || String(randomInt(2 ** 47));
  const inside = [process.execPath, join(import.meta.dirname, "inside.ts")];
  const flags = Object.entries({ minutes, seed, only, folder }).map(([name, value]) => `--${name}=${value}`);
  // What a failure leaves goes there as well.
  const env = { ...process.env, TMPDIR: folder };
  const child = spawn("unshare", [...unshared, ...inside, ...flags], { stdio: "inherit", env });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => child.kill("SIGKILL"));
  const [code] = (await once(child, "exit")) as [number | null];
  if (code === 0 || code === null) rmSync(folder, { recursive: true, force: true });
  else console.error(`prove-host: what failed is in ${folder}; again with SEED=${seed}`);
  return code ?? 130;
}

function refuse(reason: string): number {
  console.error(`prove-host: ${reason}`);
  return 2;
}

/** Why it can't run here at all. */
function findLack(): string | undefined {
  if (process.platform !== "linux") return "it takes Linux";
  if (process.getuid?.() !== 0) return "it takes root";
  const absent = tools.find((tool) => reasonAgainst(() => runTool("sh", "-c", 'command -v "$0"', tool)) !== undefined);
  if (absent !== undefined) return `there is no ${absent}`;
  return reasonAgainst(() => runTool("unshare", ...unshared, "true"));
}
