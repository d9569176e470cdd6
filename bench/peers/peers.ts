import { bareLoop, bareUnary } from "./ceilings.ts";
import { jetstream } from "./jetstream.ts";
import { kafka } from "./kafka.ts";
import type { Peer } from "./peer.ts";
import { proglog, proglogCrowd, proglogUnary } from "./proglog.ts";
import { redis } from "./redis.ts";

/** Ours first; whoever is measured first in a round changes. */
export const peers: readonly Peer[] = [proglog, redis, jetstream, kafka];

export function findPeer(name: string): Peer {
  const peer = [...peers, proglogUnary, proglogCrowd, bareLoop, bareUnary].find((each) => each.name === name);
  if (peer === undefined) throw new Error(`There is no peer "${name}"`);
  return peer;
}
