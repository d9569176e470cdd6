import assert from "node:assert/strict";
import { test } from "node:test";
import { createVirtualClock, type VirtualClock } from "../../../sim/clock.ts";
import { keepAll } from "../../../sim/crash.ts";
import { createSimDisk, type SimDisk } from "../../../sim/disk.ts";
import { createSeededRandom } from "../../../sim/random.ts";
import { isProglogError, messageOf, ProglogError } from "../../base/error.ts";
import { silentLogger } from "../../base/logger.ts";
import { MemoryPeers } from "../memory-peers.ts";
import { ClusteredNode } from "./clustered-node.ts";

test("a node that is closed at any moment of its opening leaves nothing open, and nothing is done when its lock is gone", async () => {
  for (const isFirstStart of [true, false]) {
    for (let callNumber = 1; ; callNumber += 1) {
      const outcome = await closeAtCall(callNumber, isFirstStart);
      if (outcome === "opened before") {
        assert.ok(callNumber > 5, "an opening calls its disk many times");
        break;
      }
    }
  }
});

test("a node whose directory was put back to an earlier state stops when others refuse it, and starts no more", async () => {
  const clock = createVirtualClock();
  const network = new MemoryPeers(clock);
  const kept = new Map<string, SimDisk>();
  const start = async (name: string, disk: SimDisk): Promise<ClusteredNode> => {
    const node = await openNamed(name, { clock, disk, network });
    await passUntil(clock, node.openReplicas());
    return node;
  };
  const nodes = new Map<string, ClusteredNode>();
  for (const name of ["a", "b", "c"]) kept.set(name, createSimDisk());
  const stop = (name: string): Promise<void> =>
    passUntil(clock, nodes.get(name)?.close(stopping()) ?? Promise.reject(new Error(name)));
  const diskOf = (name: string): SimDisk => kept.get(name) ?? assert.fail(name);
  for (const name of ["a", "b", "c"]) nodes.set(name, await start(name, diskOf(name)));
  await pass(clock, 3_000);
  await stop("c");
  const earlier = diskOf("c").crash(keepAll);
  for (let starts = 0; starts < 3; starts += 1) {
    nodes.set("c", await start("c", diskOf("c")));
    await pass(clock, 3_000);
    await stop("c");
  }
  const again = await openNamed("c", { clock, disk: earlier, network });
  // They may meet before it has opened all, or behind that.
  const outcome = await passUntil(clock, settle(again.openReplicas()));
  if (outcome !== undefined) assert.match(messageOf(outcome), /others have refused it/);
  await pass(clock, 3_000);
  assert.equal(again.groups?.find(again.clusterId ?? ""), undefined, "it takes part in nothing");
  await passUntil(clock, again.close(stopping()));
  // It would have come to be the latest start by now, had it counted on.
  for (let starts = 0; starts < 4; starts += 1) {
    const node = await openNamed("c", { clock, disk: earlier, network });
    await assert.rejects(passUntil(clock, node.openReplicas()), { code: "PEER_REFUSED", message: /put back/ });
    await passUntil(clock, node.close(stopping()));
  }
  for (const name of ["a", "b"]) await stop(name);
});

/** Opens a node of a cluster of one, and closes it when it makes its `callNumber`th call to the disk that takes time. */
async function closeAtCall(callNumber: number, isFirstStart: boolean): Promise<"closed" | "opened before"> {
  const clock = createVirtualClock();
  const world: World = { clock, closeAt: Number.POSITIVE_INFINITY, callCount: 0, isUnlocked: false, transports: [] };
  world.disk = createSimDisk({
    delay: async () => {
      world.callCount += 1;
      if (world.callCount === world.closeAt) world.closing = close(world);
      // A call takes its time, in which others get on.
      await new Promise<void>((resolve) => void clock.setTimer(1, resolve));
      if (world.isUnlocked) world.lateCall ??= "a call to the disk ended when the lock was gone";
    },
  });
  if (!isFirstStart) {
    world.node = await passUntil(clock, openNode(world));
    await passUntil(clock, world.node.openReplicas());
    await passUntil(clock, close(world));
    Object.assign(world, { callCount: 0, isUnlocked: false, transports: [] });
  }
  world.node = await passUntil(clock, openNode(world));
  world.closeAt = world.callCount + callNumber;
  const opening = world.node.openReplicas();
  const outcome = await passUntil(clock, settle(opening));
  const isLate = world.closing === undefined;
  await passUntil(clock, world.closing ?? close(world));
  const where = `closed at call ${callNumber} of ${isFirstStart ? "the first start" : "a later start"}`;
  assert.equal(world.lateCall, undefined, where);
  assert.equal(world.disk.openFileCount, 0, `${where}: files are left open`);
  assert.equal(clock.timerCount, 0, `${where}: timers are left`);
  assert.ok(
    world.transports.every(({ isClosed }) => isClosed),
    `${where}: its connections are left open`,
  );
  if (isLate) assert.equal(outcome, undefined);
  else if (outcome !== undefined) assert.ok(isProglogError(outcome), where);
  return isLate ? "opened before" : "closed";
}

interface World {
  readonly clock: VirtualClock;
  disk?: SimDisk;
  node?: ClusteredNode;
  closeAt: number;
  callCount: number;
  closing?: Promise<void>;
  isUnlocked: boolean;
  lateCall?: string;
  transports: { isClosed: boolean }[];
}

async function close(world: World): Promise<void> {
  await world.node?.close(stopping());
  world.isUnlocked = true;
}

function stopping(): ProglogError {
  return new ProglogError("SHUTTING_DOWN", "Cannot go on: the node is being stopped");
}

function openNode(world: World): Promise<ClusteredNode> {
  const { clock, disk, transports } = world;
  assert.ok(disk !== undefined);
  return openNamed("a", { clock, disk, network: new MemoryPeers(clock), onConnect: (transport) => transports.push(transport) });
}

/** Node a begins the cluster, the others join it. */
function openNamed(name: string, { clock, disk, network, onConnect }: NodeParts): Promise<ClusteredNode> {
  const isFirst = name === "a";
  return ClusteredNode.open({
    ...{ path: "/data", disk, clock, logger: silentLogger, log: {} },
    random: createSeededRandom(name),
    flags: { nodeName: name, startJoinAddrs: isFirst ? [] : ["a:8400"], initialNodes: undefined, isBootstrapping: isFirst },
    defaultName: () => name,
    address: () => `${name}:8400`,
    resolve: async (address) => [address],
    connectPeers: ({ identity, listener }) => {
      const transport = network.join(identity, listener);
      const noted = { isClosed: false };
      onConnect?.(noted);
      const closeTransport = transport.close.bind(transport);
      transport.close = () => {
        noted.isClosed = true;
        return closeTransport();
      };
      return transport;
    },
  });
}

interface NodeParts {
  readonly clock: VirtualClock;
  readonly disk: SimDisk;
  readonly network: MemoryPeers;
  readonly onConnect?: (transport: { isClosed: boolean }) => void;
}

async function pass(clock: VirtualClock, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 10) {
    clock.advance(10);
    await new Promise(setImmediate);
  }
}

/** What it failed with. */
function settle(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error: unknown) => error,
  );
}

/** Time passes until it is settled. */
async function passUntil<Value>(clock: VirtualClock, promise: Promise<Value>): Promise<Value> {
  const state = { isSettled: false };
  const settled = (): void => void (state.isSettled = true);
  promise.then(settled, settled);
  for (let passed = 0; !state.isSettled; passed += 1) {
    assert.ok(passed < 3_000, "it comes to an end");
    await new Promise(setImmediate);
    if (!state.isSettled) clock.advance(1);
  }
  return promise;
}
