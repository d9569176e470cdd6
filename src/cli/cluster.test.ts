import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock, type VirtualClock } from "../../sim/clock.ts";
import { openStubNode } from "../../test/stub-node.ts";
import { ProglogError } from "../base/error.ts";
import type { ClusterStatus } from "../client/index.ts";
import type { ClusterAdmin } from "../server/cluster-admin.ts";
import { exitCodes } from "./exit-codes.ts";
import { main } from "./main.ts";
import { MemoryIo } from "./memory-io.ts";

const status: ClusterStatus = {
  clusterId: "c1",
  nodes: [
    { ...nodeNamed("a"), isLeader: true, replicaCount: 3, leaderCount: 2 },
    { ...nodeNamed("b"), replicaCount: 3, leaderCount: 1 },
    { ...nodeNamed("c"), state: "down", isVoter: false, replicaCount: 2, leaderCount: 0 },
  ],
  groups: [
    {
      topic: "orders",
      partition: 1,
      uuid: "u",
      leaderId: "",
      term: 12,
      replicas: [
        { nodeId: "a", rpcAddr: "a:8000", isVoter: true, isInSync: true },
        { nodeId: "c", rpcAddr: "c:8000", isVoter: true, isInSync: false, lag: 4_120 },
        { nodeId: "d", rpcAddr: "", isVoter: false, isInSync: false },
      ],
      isUnderReplicated: true,
      move: { replicas: ["a", "d"], phase: "catching-up" },
    },
  ],
  groupCount: 1_000,
  leaderlessCount: 1,
  underReplicatedCount: 1,
  movingCount: 1,
};

function nodeNamed(id: string) {
  return { id, rpcAddr: `${id}:8000`, isLeader: false, state: "up", storageId: `5${id}`, isVoter: true };
}

interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command against a stub that does what `cluster` says, on a clock that `during` moves. */
async function run(
  argv: readonly string[],
  cluster: Partial<ClusterAdmin>,
  during: (io: MemoryIo, clock: VirtualClock) => Promise<void> = async () => {},
): Promise<Run> {
  await using node = await openStubNode({ cluster });
  const clock = createVirtualClock();
  const io = new MemoryIo({ env: { PROGLOG_SERVER: node.address }, clock, isInputTerminal: true });
  const running = main(["cluster", ...argv], io);
  await during(io, clock);
  const code = await running;
  assert.equal(clock.timerCount, 0);
  return { code, stdout: io.stdout.text, stderr: io.stderr.text };
}

/** Lets the time pass in which the command waits, once it waits. */
async function advance(clock: VirtualClock): Promise<void> {
  while (clock.timerCount === 0) await new Promise(setImmediate);
  clock.advance(1_000);
}

describe("proglog cluster", () => {
  test("status shows the nodes, and of the groups those that aren't well", async () => {
    const asked: unknown[] = [];
    const getStatus = async (request: unknown): Promise<ClusterStatus> => {
      asked.push(request);
      return status;
    };
    const { code, stdout } = await run(["status"], { getStatus });
    assert.equal(code, exitCodes.done);
    assert.equal(
      stdout,
      `Cluster c1: 3 nodes, 1,000 groups, 1 without a leader, 1 under-replicated, 1 on the move

NODE  ADDRESS  STATE  CATALOG  REPLICAS  LEADS
a     a:8000   up     leads           3      2
b     b:8000   up     votes           3      1
c     c:8000   down   -               2      0

GROUP     LEADER  TERM  REPLICAS                                       STATE
orders/1  -         12  a, c (4,120 behind), d (learner, not in sync)  no leader; under-replicated; moves to a, d: catching-up
`,
    );
    const well = { ...status, groups: [], leaderlessCount: 0, underReplicatedCount: 0, movingCount: 0 };
    assert.match((await run(["status", "--all"], { getStatus: async () => well })).stdout, /^Cluster c1: [^\n]+, all well\n/);
    assert.deepEqual(JSON.parse((await run(["status", "--all", "--json"], { getStatus })).stdout), status);
    assert.deepEqual(asked, [{ troubledOnly: true }, { troubledOnly: false }]);
  });

  test("status --watch shows it each second, an error in its place, until Ctrl-C", async () => {
    let asked = 0;
    const getStatus = async (): Promise<ClusterStatus> => {
      asked += 1;
      if (asked === 2) throw new ProglogError("SHUTTING_DOWN", "Cannot go on: the node is stopping");
      return { ...status, groups: [] };
    };
    const { code, stdout } = await run(["status", "--watch"], { getStatus }, async (io, clock) => {
      await io.stdout.waitFor(/Cluster/);
      await advance(clock);
      await io.stdout.waitFor(/stopping/);
      await advance(clock);
      await io.stdout.waitFor(/stopping\n\nCluster[^]+LEADS[^]+\n\n/);
      io.send("SIGINT");
    });
    assert.equal(code, exitCodes.done);
    assert.equal(stdout.match(/Cluster c1/g)?.length, 2);
    const first = await run(["status", "--watch"], {});
    assert.equal(first.code, exitCodes.failed);
    assert.match(first.stderr, /^proglog: NOT_CLUSTERED: /);
  });

  test("add says how a node is started and waits until it has joined, or has one stay", async () => {
    const hint = "Start it with an empty directory, and it joins by itself: proglog serve --node-name d";
    let hasJoined = false;
    const cluster: Partial<ClusterAdmin> = {
      addNode: async ({ name }) => {
        if (hasJoined) return { wasDraining: name === "c" };
        throw new ProglogError("NODE_NOT_FOUND", `Cannot add node ${name}: it hasn't joined the cluster`, { hint });
      },
    };
    const unwaited = await run(["add", "d", "--no-wait"], cluster);
    assert.equal(unwaited.code, exitCodes.failed);
    assert.match(unwaited.stderr, /NODE_NOT_FOUND: Cannot add node d: it hasn't joined the cluster \(.*--node-name d\)\n/);
    const stopped = await run(["add", "d"], cluster, async (io, clock) => {
      await advance(clock);
      while (clock.timerCount === 0) await new Promise(setImmediate);
      io.send("SIGINT");
    });
    assert.deepEqual([stopped.code, stopped.stderr], [exitCodes.interrupted, `d hasn't joined yet. ${hint}\n`]);
    const waited = await run(["add", "d"], cluster, async (_io, clock) => {
      while (clock.timerCount === 0) await new Promise(setImmediate);
      hasJoined = true;
      await advance(clock);
    });
    assert.deepEqual([waited.code, waited.stdout], [exitCodes.done, "d is in the cluster.\n"]);
    assert.equal((await run(["add", "c"], cluster)).stdout, "c stays.\n");
  });

  test("remove asks, says how many replicas are left, and ends when the node has left", async () => {
    const removed: unknown[] = [];
    let left = 2;
    const cluster: Partial<ClusterAdmin> = {
      getStatus: async () => ({ ...status, nodes: status.nodes.filter(({ id }) => id !== "c" || left >= 0) }),
      removeNode: async (request) => {
        removed.push(request);
        return { isRemoved: false };
      },
    };
    const { code, stdout, stderr } = await run(["remove", "c", "--force"], cluster, async (io, clock) => {
      await io.stderr.waitFor(/Remove node c \(down\), and give up its 2 replicas\? \[y\/N\] /);
      io.stdin.write("y\n");
      await io.stderr.waitFor(/2 replicas left on c\n/);
      left = -1;
      await advance(clock);
    });
    assert.deepEqual([code, stdout], [exitCodes.done, "Removed c.\n"]);
    assert.match(stderr, /2 replicas left on c\n$/);
    assert.deepEqual(removed, [{ name: "c", force: true }]);

    const refused = await run(["remove", "c"], { ...cluster, getStatus: async () => status }, async (io) => {
      await io.stderr.waitFor(/and move its 2 replicas/);
      io.stdin.write("n\n");
    });
    assert.deepEqual([refused.code, removed.length], [exitCodes.failed, 1]);
    const unknown = await run(["remove", "x"], { getStatus: async () => status });
    assert.match(unknown.stderr, /^proglog: NODE_NOT_FOUND: Cannot remove node x: there are a, b, c\n$/);
  });

  test("remove --no-wait returns at once, and Ctrl-C leaves the wait without taking anything back", async () => {
    const cluster: Partial<ClusterAdmin> = {
      getStatus: async () => status,
      removeNode: async () => ({ isRemoved: false }),
    };
    const unwaited = await run(["remove", "b", "--yes", "--no-wait"], cluster);
    assert.deepEqual([unwaited.code, unwaited.stderr], [exitCodes.done, ""]);
    assert.match(unwaited.stdout, /^b is being removed/);
    const stopped = await run(["remove", "b", "--yes"], cluster, async (io) => {
      await io.stderr.waitFor(/3 replicas left on b\n/);
      io.send("SIGINT");
    });
    assert.equal(stopped.code, exitCodes.interrupted);
    assert.match(stopped.stderr, /b is still being removed/);
  });

  test("remove ends when somebody else has the node stay, and not because one answer is behind", async () => {
    let state = "draining";
    let looks = 0;
    const cluster: Partial<ClusterAdmin> = {
      getStatus: async () => {
        looks += 1;
        // The second answer comes from a node that hasn't heard of the drain.
        const shown = looks === 2 ? "up" : state;
        return { ...status, nodes: status.nodes.map((node) => (node.id === "b" ? { ...node, state: shown } : node)) };
      },
      removeNode: async () => ({ isRemoved: false }),
    };
    const { code, stdout, stderr } = await run(["remove", "b", "--yes"], cluster, async ({ stderr: told }, clock) => {
      while (!told.text.includes("stays")) {
        if (looks >= 4) state = "up";
        if (clock.timerCount > 0) clock.advance(1_000);
        await new Promise(setImmediate);
      }
    });
    assert.ok(looks >= 7, "three answers in a row say so");
    assert.deepEqual([code, stdout], [exitCodes.failed, ""]);
    assert.match(stderr, /b stays: somebody had it added again meanwhile\.\n$/);
  });

  test("transfer and move ask for what they were told", async () => {
    const asked: unknown[] = [];
    const cluster: Partial<ClusterAdmin> = {
      transferLeadership: async (request) => {
        asked.push(request);
        return { leaderId: "b" };
      },
      movePartition: async (request) => void asked.push(request),
    };
    const transferred = await run(["transfer", "--topic", "orders", "--partition", "3"], cluster);
    assert.equal(transferred.stdout, "b leads orders/3.\n");
    const moved = await run(["move", "--to", "a, b,d"], cluster);
    assert.match(moved.stdout, /^default\/0 moves to a, b, d: /);
    assert.deepEqual(asked, [
      { topic: "orders", partition: 3, to: "" },
      { topic: "default", partition: 0, replicas: ["a", "b", "d"] },
    ]);
    for (const to of ["a,,b", "a,b,a"]) assert.equal((await run(["move", "--to", to], cluster)).code, exitCodes.usage);
    assert.equal((await run(["move"], cluster)).code, exitCodes.usage);
  });
});
