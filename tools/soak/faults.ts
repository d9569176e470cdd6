import { setTimeout as pause } from "node:timers/promises";
import type { Load } from "./load.ts";
import type { Fault } from "./sample.ts";
import { type NodeName, nodeNames, type SoakNodes } from "./soak-nodes.ts";

/**
 * One after the other, each healed before the next comes: a cluster of three bears no more. The first node is never ended, only stalled, cut
 * off and relieved of what it leads: what it leaks over the whole time would be gone with its process.
 */
const mortals = ["node2", "node3"] as const satisfies readonly NodeName[];
const awayMs = 2_000;
/** Long enough for a machine that has other things to do. */
const wholeMaxMs = 120_000;
const betweenMs = 1_000;

type Kind = "killed" | "stalled" | "cut off" | "restarted" | "relieved";
const kinds: readonly Kind[] = ["killed", "stalled", "cut off", "restarted", "relieved"];

export interface FaultsContext {
  readonly nodes: SoakNodes;
  readonly load: Load;
  readonly now: () => number;
  readonly onFault: (fault: Fault) => void;
}

/** Until the signal says so; what is under way then is healed first. The number says with which kind it begins, so that none is left out. */
export async function makeFaults(context: FaultsContext, first: number, signal: AbortSignal): Promise<number> {
  let number = first;
  for (; !signal.aborted; number += 1) {
    const kind = kinds[number % kinds.length] ?? "killed";
    const names: readonly NodeName[] = kind === "killed" || kind === "restarted" ? mortals : nodeNames;
    const name = names[Math.floor(number / kinds.length) % names.length] ?? "node2";
    const atMs = context.now();
    await harm(context, kind, name);
    const isWhole = await context.load.untilWhole(wholeMaxMs);
    const what = kind === "relieved" ? "another leads" : `${name} ${kind}`;
    context.onFault({ atMs, what, wholeAfterMs: isWhole ? context.now() - atMs : undefined });
    await pause(betweenMs, undefined, { signal }).catch(() => {}); // told to end
  }
  return number;
}

async function harm({ nodes, load }: FaultsContext, kind: Kind, name: NodeName): Promise<void> {
  switch (kind) {
    case "killed":
      await nodes.endNode(name, "SIGKILL");
      await pause(awayMs);
      nodes.startNode(name);
      return;
    case "restarted":
      await nodes.endNode(name, "SIGTERM");
      nodes.startNode(name);
      return;
    case "stalled":
      return nodes.stall(name, awayMs);
    case "cut off":
      return nodes.cutOff(name, awayMs);
    case "relieved":
      // Refused where it moves already: then it is as good.
      await load.transferLeadership(nodeNames.indexOf(name)).catch(() => undefined);
  }
}
