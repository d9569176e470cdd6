import type { Entry } from "./entry.ts";
import type { FakeLog } from "./fake-replica.ts";
import type { Member, NodeId } from "./member.ts";
import type { Membership, MembershipChange } from "./membership.ts";
import type { Message, MessageKind } from "./message.ts";
import type { RaftSettings } from "./raft-settings.ts";
import { ScriptWorld } from "./script-world.ts";

/**
 * Text scripts: blocks of commands, a line `----`, and what they print; blocks are parted by an empty line, a line with # in front
 * says what it is about. testdata/README.md has the commands. A script is run and its output compared, or written anew.
 */
export function runScript(text: string): string {
  const runner = new ScriptRunner();
  return `${text
    .trimEnd()
    .split(/\n\n+/)
    .map((block) => runner.run(block))
    .join("\n\n")}\n`;
}

class ScriptRunner {
  #world = new ScriptWorld();

  /** A block with its output made anew. */
  run(block: string): string {
    const lines = block.split("\n");
    const bar = lines.indexOf("----");
    const commands = bar === -1 ? lines : lines.slice(0, bar);
    if (commands.every((line) => line.startsWith("#"))) return block;
    const output: string[] = [];
    for (const line of commands) {
      if (line.startsWith("#")) continue;
      const [first = "", ...rest] = line.split(" ").filter((word) => word !== "");
      const isQuiet = first === "quietly";
      const [name = "", ...words] = isQuiet ? rest : [first, ...rest];
      try {
        const said = this.#command(name, words);
        const happened = this.#world.takeLines();
        if (!isQuiet) output.push(...happened, ...said);
      } catch (error) {
        output.push(...this.#world.takeLines(), `error: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    return [...commands, "----", ...(output.length === 0 ? ["ok"] : output)].join("\n");
  }

  #command(name: string, words: readonly string[]): readonly string[] {
    const command = commands[name];
    if (command === undefined) throw new Error(`there is no command ${name}`);
    const options = new Map(words.filter((word) => word.includes("=")).map((word) => word.split("=") as [string, string]));
    const names = words.filter((word) => !word.includes("="));
    if (name === "group") this.#world = newWorld(names, options);
    return command(this.#world, names, options) ?? [];
  }
}

type Options = ReadonlyMap<string, string>;

type Command = (world: ScriptWorld, words: readonly string[], options: Options) => readonly string[] | undefined | void;

const commands: Readonly<Record<string, Command>> = {
  // ---- the group ----
  group: () => undefined,
  node(world, [nodeId = ""], options) {
    world.add({ nodeId, storageId: options.get("storage") ?? storageOf(nodeId) }, {});
  },
  /** Puts a replica there with a log of these terms, an offset each, in the place of the one that was. */
  log(world, [nodeId = "", ...terms], options) {
    const { raft, disk } = world.get(nodeId);
    const log = logOf(terms.map(Number), disk.log.membership.membership);
    const term = Number(options.get("term") ?? log.entries.at(-1)?.term ?? 0);
    const vote = options.get("vote");
    world.add(raft.state.self, { disk: { term, vote: vote === undefined ? undefined : memberOf(vote), log } });
  },
  state: (world, words) => nodesOf(world, words).map((nodeId) => world.describe(nodeId)),
  logs: (world, words) => nodesOf(world, words).map((nodeId) => world.describeLog(nodeId)),

  // ---- time ----
  tick(world, [nodeId = "", count = "1"]) {
    for (let left = Number(count); left > 0; left -= 1) world.act(nodeId, (raft) => raft.tick());
  },
  wake(world, [nodeId = ""]) {
    world.act(nodeId, (raft) => raft.wake());
  },
  /** Ticks until the election timer has fired. */
  timeout(world, [nodeId = ""]) {
    const { electionTimeout, electionElapsed } = world.get(nodeId).raft.state;
    for (let left = electionTimeout - electionElapsed; left > 0; left -= 1) world.act(nodeId, (raft) => raft.tick());
  },

  /** Lets leases run out, of those named or of all followers. */
  silence(world, words) {
    for (const nodeId of nodesOf(world, words))
      if (world.get(nodeId).isUp && world.get(nodeId).raft.state.role.kind === "follower") silence(world, nodeId);
  },
  /** Has a replica win the votes of those named, of all when none is; what it then sends is under way. */
  elect(world, [nodeId = "", ...voters]) {
    const { electionTimeout, electionElapsed } = world.get(nodeId).raft.state;
    for (let left = electionTimeout - electionElapsed; left > 0; left -= 1) world.act(nodeId, (raft) => raft.tick());
    const others = (voters.length > 0 ? voters : nodesOf(world, [])).filter(
      (other) => other !== nodeId && world.get(other).isUp,
    );
    for (const other of others) silence(world, other);
    for (let turns = 0; turns < 3; turns += 1) {
      for (const other of [nodeId, ...others]) world.syncHardState(other);
      for (const other of others)
        for (const way of [`${nodeId}>${other}`, `${other}>${nodeId}`])
          for (const message of takeMessages(world, [way, ...voteKinds])) world.deliver(message);
    }
    takeMessages(world, voteKinds);
    const { kind } = world.get(nodeId).raft.state.role;
    return kind === "leader" ? [] : [`${nodeId} isn't elected: ${kind}`];
  },

  // ---- what users and operators ask for ----
  propose(world, [nodeId = "", count = "1"], options) {
    const proposal = {
      kind: "data",
      span: Number(options.get("span") ?? 1),
      bytes: Number(options.get("bytes") ?? 100),
    } as const;
    const outcome = world.act(nodeId, (raft) => raft.propose(Array.from({ length: Number(count) }, () => proposal)));
    return outcome.outcome === "appended" ? [] : [`refused: ${Object.values(outcome).join(" ")}`];
  },
  change(world, [nodeId = "", ...words]) {
    const outcome = world.act(nodeId, (raft) => raft.changeMembership(changesOf(words)));
    return outcome.outcome === "appended" ? [] : [`refused: ${Object.values(outcome).join(": ")}`];
  },
  transfer(world, [nodeId = "", to]) {
    const outcome = world.act(nodeId, (raft) => raft.transferLeadership(to));
    return outcome.outcome === "begun" ? [`hands over to ${outcome.to}`] : [`refused: ${Object.values(outcome).join(": ")}`];
  },
  read(world, [nodeId = "", id = "1"]) {
    const outcome = world.read(nodeId, Number(id));
    return outcome.outcome === "waiting" ? [] : [`refused: ${outcome.outcome}`];
  },

  // ---- the network ----
  deliver(world, words) {
    for (const message of takeMessages(world, words)) world.deliver(message);
  },
  drop(world, words) {
    takeMessages(world, words);
  },
  double(world, words) {
    const taken = takeMessages(world, words);
    world.network.push(...taken, ...taken);
  },
  /** Sends what is under way last first. */
  reverse(world) {
    world.network.reverse();
  },
  cut(world, [one = "", ...others], options) {
    world.cut(
      one,
      others.length > 0 ? others : [...world.replicas.keys()].filter((other) => other !== one),
      options.has("way"),
    );
  },
  heal: (world) => world.heal(),
  unreachable(world, [nodeId = "", to = ""]) {
    world.unreachable(nodeId, to);
  },
  /** A message that no core has made. */
  say(world, [way = "", kind = ""], options) {
    const [from = "", to = ""] = way.split(">");
    const numbers = [...options]
      .filter(([name]) => name !== "storage")
      .map(([name, value]) => [name, JSON.parse(value)] as const);
    const envelope = { from, fromStorage: options.get("storage") ?? storageOf(from), to };
    const message = { entries: [], ...Object.fromEntries(numbers), ...envelope, kind } as unknown as Message;
    world.deliver(message);
  },
  disconnect(world, [nodeId = "", ...others]) {
    for (const other of others) world.act(nodeId, (raft) => raft.disconnected(other));
  },
  lost(world, [nodeId = "", ...others]) {
    for (const other of others) world.act(nodeId, (raft) => raft.peerLost(other));
  },
  found(world, [nodeId = "", ...others]) {
    for (const other of others) world.act(nodeId, (raft) => raft.peerFound(other));
  },
  settle: (world) => world.settle(),

  // ---- send orders, of a node that holds them ----
  send: (world, [nodeId = "", how]) => world.send(nodeId, how === "lost"),
  sent: (world, [nodeId = ""]) => world.reportSent(nodeId),

  // ---- the disk ----
  sync(world, [nodeId = ""]) {
    world.syncHardState(nodeId);
    world.syncLog(nodeId);
  },
  "sync-log": (world, [nodeId = ""]) => world.syncLog(nodeId),
  "sync-hard-state": (world, [nodeId = ""]) => world.syncHardState(nodeId),
  "begin-sync": (world, [nodeId = ""]) => world.beginSync(nodeId),
  "end-sync": (world, [nodeId = ""]) => world.endSync(nodeId),
  hold: (world, [nodeId = "", what = "log"]) => world.hold(nodeId, what),
  release: (world, [nodeId = ""]) => world.release(nodeId),
  crash: (world, [nodeId = "", how]) => world.crash(nodeId, how === "keeping"),
  restart: (world, [nodeId = ""]) => world.restart(nodeId),
  "roll-back": (world, [nodeId = "", index = "0"]) => world.rollBack(nodeId, Number(index)),
  damage(world, [nodeId = ""]) {
    world.act(nodeId, (raft) => raft.setDamaged());
  },
  repair(world, [nodeId = ""], options) {
    const durableIndex = Number(options.get("durable") ?? world.get(nodeId).raft.state.log.durableIndex);
    const outcome = world.act(nodeId, (raft) => raft.repaired({ durableIndex }));
    return outcome === "repaired" ? [] : [outcome];
  },
  trim: (world, [nodeId = "", index = "0"]) => world.trim(nodeId, Number(index)),
  "catch-up"(world, [way = "", count = "0"]) {
    const [from = "", to = ""] = way.split(">");
    world.catchUp(from, to, Number(count));
  },
  "catch-up-failed"(world, [way = ""], options) {
    const [from = "", to = ""] = way.split(">");
    const id = Number(options.get("id") ?? world.get(from).raft.state.lastCatchUp);
    world.act(from, (raft) => raft.catchUpFailed({ to, id }));
  },
};

/** Lets a follower's lease run out. */
function silence(world: ScriptWorld, nodeId: NodeId): void {
  const { electionElapsed } = world.get(nodeId).raft.state;
  for (let left = world.settings.electionTicks - electionElapsed; left > 0; left -= 1) world.act(nodeId, (raft) => raft.tick());
}

const voteKinds: readonly MessageKind[] = ["pre-vote-request", "pre-vote-response", "vote-request", "vote-response"];

const settingNames = {
  "election-ticks": "electionTicks",
  "heartbeat-ticks": "heartbeatTicks",
  "sleep-ticks": "sleepTicks",
  "send-bytes": "sendMaxBytes",
  "inflight-bytes": "inflightMaxBytes",
  "inflight-count": "inflightMaxCount",
  "uncommitted-bytes": "uncommittedMaxBytes",
  "uncommitted-count": "uncommittedMaxCount",
  "reads-waiting": "readsWaitingMaxCount",
  "promotion-lag": "promotionMaxLag",
} as const satisfies Record<string, keyof RaftSettings>;

/** `group n1 n2 n3 +n4 election-ticks=5`: voters, learners, settings. */
function newWorld(names: readonly string[], options: Options): ScriptWorld {
  const settings: Partial<Record<keyof RaftSettings, number>> = {};
  for (const [name, value] of options) {
    if (name === "witness") continue;
    const setting = settingNames[name as keyof typeof settingNames];
    if (setting === undefined) throw new Error(`there is no setting ${name}`);
    settings[setting] = Number(value);
  }
  const voters = names.filter((name) => !name.startsWith("+")).map(memberOf);
  const learners = names.filter((name) => name.startsWith("+")).map((name) => memberOf(name.slice(1)));
  const world = new ScriptWorld(settings, options.get("witness") !== "off");
  for (const member of [...voters, ...learners]) world.add(member, { membership: { voters, outgoing: [], learners } });
  return world;
}

function memberOf(nodeId: NodeId): Member {
  return { nodeId, storageId: storageOf(nodeId) };
}

function storageOf(nodeId: NodeId): string {
  return `${nodeId}-disk`;
}

function logOf(terms: readonly number[], membership: Membership): FakeLog {
  const entries = terms.map((term, i): Entry => ({ index: i + 1, term, kind: "data", span: 1, baseOffset: i, bytes: 100 }));
  return { base: { index: 0, term: 0, nextOffset: 0 }, membership: { index: 0, membership }, entries };
}

function nodesOf(world: ScriptWorld, words: readonly string[]): readonly NodeId[] {
  return words.length > 0 ? words : [...world.replicas.keys()];
}

/** `add-learner n4 promote n5`: pairs. A member of another disk is `n4/disk`. */
function changesOf(words: readonly string[]): MembershipChange[] {
  const changes: MembershipChange[] = [];
  for (let i = 0; i < words.length; i += 2) {
    const kind = words[i];
    const [nodeId = "", storage] = (words[i + 1] ?? "").split("/");
    if (kind === "add-learner") changes.push({ kind, member: { nodeId, storageId: storage ?? storageOf(nodeId) } });
    else if (kind === "promote" || kind === "demote" || kind === "remove") changes.push({ kind, nodeId });
    else throw new Error(`there is no change ${kind}`);
  }
  return changes;
}

/** Takes out of the network what a pattern names: `n1>n2`, `n1>`, `>n2`, a kind, or both; all when none is named. */
function takeMessages(world: ScriptWorld, words: readonly string[]): Message[] {
  const way = words.find((word) => word.includes(">"));
  const [from = "", to = ""] = way?.split(">") ?? [];
  const kinds = words.filter((word) => !word.includes(">")) as MessageKind[];
  const isMeant = (message: Message): boolean =>
    (from === "" || message.from === from) &&
    (to === "" || message.to === to) &&
    (kinds.length === 0 || kinds.includes(message.kind));
  const taken = world.network.filter(isMeant);
  world.network = world.network.filter((message) => !isMeant(message));
  return taken;
}
