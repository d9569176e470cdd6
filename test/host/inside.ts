import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { isProglogError } from "../../src/base/error.ts";
import { createSeededRandom, type SeededRandom } from "../../sim/random.ts";
import { checkUnderLoad } from "../recorded-clients.ts";
import { FalseSyncs } from "./false-syncs.ts";
import { findLacks, HostCluster, type HostNeed, nodeNames } from "./host-cluster.ts";
import { HostDisk } from "./host-disk.ts";
import { type HostFault, hostFaults } from "./host-faults.ts";
import { HostNetwork } from "./host-network.ts";
import { runCommand } from "./run-command.ts";

/** What run.ts starts in namespaces of its own: one fault after the other until the time is over, and then all files are compared. */
interface HostProof {
  readonly folder: string;
  readonly network: HostNetwork;
  readonly lacks: ReadonlyMap<HostNeed, string>;
  readonly random: SeededRandom;
  /** Of faults, one after the other; what comes before and after takes its time. */
  readonly minutes: number;
  /** A part of the titles of those faults that are wanted; "" of all. */
  readonly only: string;
}

process.exitCode = await main();

async function main(): Promise<number> {
  const text = { type: "string", default: "" } as const;
  const { values } = parseArgs({ options: { minutes: text, seed: text, only: text, folder: text } });
  const begun = begin(values.folder);
  if ("lack" in begun) {
    console.log(`SKIPPED prove-host: ${begun.lack}`);
    return 0;
  }
  const { minutes, seed, only, folder } = values;
  const proof = { ...begun, folder, only, minutes: Number(minutes), random: createSeededRandom(`host/${seed}`) };
  console.log(`prove-host: SEED=${seed}`);
  try {
    await tellLies(proof);
    await goThrough(proof);
    return 0;
  } catch (error) {
    console.error(error);
    return 1;
  }
}

/** Or why it can't: where the kernel has no bridges, say, or no loop devices. */
function begin(folder: string): Pick<HostProof, "network" | "lacks"> | { readonly lack: string } {
  try {
    const network = HostNetwork.make(nodeNames);
    using disk = HostDisk.make(join(folder, "trial.ext4"), join(folder, "trial"));
    return { network, lacks: findLacks(network, disk) };
  } catch (error) {
    return { lack: error instanceof Error ? error.message : String(error) };
  }
}

/**
 * Whoever notices no loss may just be blind: nodes on disks that only say that they have synced, whose power is cut, must have lost what was
 * acknowledged, and that must be found out.
 */
async function tellLies({ folder, network, lacks }: HostProof): Promise<void> {
  const title = "canary: disks lie about syncs, and the power of all is cut";
  const lack = lacks.get("tracing") ?? lacks.get("cutting off");
  if (lack !== undefined) return console.log(`SKIPPED ${title}: ${lack}`);
  const place = join(folder, "canary");
  mkdirSync(place);
  await using host = await HostCluster.form(network, place);
  await assert.rejects(
    checkUnderLoad(host.processes, "lost", async (clients) => {
      {
        await using liars = new AsyncDisposableStack();
        for (const { pid } of host.members) liars.use(await FalseSyncs.begin(pid, "lie"));
        await clients.untilAcknowledged(200);
        await host.cutPower(host.members);
      }
      for (const member of host.members) await member.untilServing();
    }),
    ({ cause }: Error) => {
      // A wait that took too long would say something of this machine only.
      const isNoticed = cause instanceof assert.AssertionError || isProglogError(cause, "OFFSET_OUT_OF_RANGE");
      if (isNoticed) console.log(`ok   ${title}: ${cause.message.split("\n")[0]}`);
      return isNoticed;
    },
    `${title}: nobody noticed`,
  );
}

async function goThrough({ folder, network, lacks, random, minutes, only }: HostProof): Promise<void> {
  const counts = new Map<HostFault, number>();
  const possible = hostFaults.filter(({ title, needs }) => {
    if (!title.includes(only)) return false;
    const lack = needs && lacks.get(needs);
    if (lack !== undefined) console.log(`SKIPPED ${title}: ${lack}`);
    return lack === undefined;
  });
  if (possible.length === 0) return;
  await using host = await HostCluster.form(network, folder);
  let acknowledged = 0;
  const endMs = performance.now() + minutes * 60_000;
  for (let number = 0; number === 0 || performance.now() < endMs; number += 1) {
    // Each once, as long as there is time, and then whichever comes.
    const fault = possible[number] ?? random.pick(possible);
    const topic = `kept-${number}`;
    const own = random.fork(topic);
    const draw = (below: number): number => own.integer(below);
    const begunMs = performance.now();
    process.stdout.write(`     ${fault.title} … `);
    await checkUnderLoad(host.processes, topic, async (clients) => {
      await clients.untilAcknowledged(draw(200) + 1);
      const leader = await host.processes.findLeader(topic);
      await fault.disturb({ host, topic, leader, clients, draw });
      network.mendAll();
      acknowledged += clients.acknowledgedCount;
    });
    counts.set(fault, (counts.get(fault) ?? 0) + 1);
    console.log(`ok, ${((performance.now() - begunMs) / 1000).toFixed(1)} s`);
  }
  const { groups, entries } = await host.processes.endAndCompare();
  for (const { directory } of host.members) await runCommand("verify", directory);
  for (const fault of possible) if (!counts.has(fault)) console.log(`NOT RUN, for want of time: ${fault.title}`);
  const faults = [...counts.values()].reduce((sum, count) => sum + count, 0);
  console.log(
    `ok   ${faults} faults, over ${acknowledged} records acknowledged, none lost, none twice; ${groups} groups of ${entries} entries are the same on all`,
  );
}
