import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../../sim/clock.ts";
import { loseAll } from "../../../sim/crash.ts";
import { createSimDisk, type SimDisk } from "../../../sim/disk.ts";
import { isProglogError, ProglogError } from "../../base/error.ts";
import { diskStallMs, groupTickMs, groupWakeMs, peerLostAfterMs, unsyncedMaxBytes } from "../../base/cluster-limits.ts";
import { logOpensMaxCount } from "../../base/limits.ts";
import { silentLogger } from "../../base/logger.ts";
import type { Message } from "../../raft/message.ts";
import { defaultSettings } from "../../raft/raft-settings.ts";
import { NodeRecord } from "../cluster/node-record.ts";
import type { ReplicaRecord } from "../cluster/node-record-state.ts";
import type { PeerIdentity, PeerMessage } from "../peer-network.ts";
import { FakeMember } from "./fake-member.ts";
import type { GroupSeams } from "./group-member.ts";
import { GroupSet } from "./group-set.ts";
import { hardStateName } from "./hard-state-file.ts";
import { decodeLeaderNews, encodeLeaderNews } from "./leader-news.ts";

const storageId = "00112233445566778899aabbccddeeff";
const reason = new ProglogError("SHUTTING_DOWN", "Cannot use it: the node is stopping");
const vote = { nodeId: "a", storageId: `${storageId}/0` };
const groupIdOf = (number: number): string => `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;

function recordOf(number: number, incarnation = 0): Omit<ReplicaRecord, "state"> {
  return { groupId: groupIdOf(number), incarnation, logId: storageId, firstMembers: undefined };
}

function peerOf(nodeId: string, bootCounter = 1): PeerIdentity {
  return { clusterId: "c", nodeId, storageId: `of ${nodeId}`, bootCounter, life: "1234567890abcdef", address: `${nodeId}:1` };
}

function append(...frames: Buffer[]): PeerMessage {
  const envelope = { from: "b", fromStorage: "of b/0", to: "a", term: 1 };
  const message: Message = { kind: "append", ...envelope, prevIndex: 0, prevTerm: 0, commitIndex: 0, entries: [] };
  return { message, frames };
}

/** One node with fakes for replicas: each has a directory with a file, as a log has. */
class World {
  readonly virtual = createVirtualClock();
  /** A loop that stood still for so long: what came due meanwhile runs when it goes on. */
  stalledMs = 0;
  readonly clock = { ...this.virtual, monotonic: () => this.virtual.monotonic() + this.stalledMs };
  readonly disk: SimDisk;
  readonly members = new Map<string, FakeMember>();
  readonly asked: string[] = [];
  readonly opened: string[] = [];
  openFault: ((groupId: string) => Error | undefined) | undefined;
  openHold: Promise<void> | undefined;

  constructor(disk: SimDisk = createSimDisk({ isRecording: false })) {
    this.disk = disk;
  }

  async open(): Promise<{ set: GroupSet<FakeMember>; record: NodeRecord }> {
    await this.disk.makeDirectory("/n");
    const record = await NodeRecord.open(this.disk, "/n", () => storageId);
    const set = await GroupSet.open<FakeMember>({
      disk: this.disk,
      directory: "/n",
      clock: this.clock,
      logger: silentLogger,
      nodeId: "a",
      record,
      peers: {
        send: () => true,
        ask: async (to, kind, body) => {
          this.asked.push(`${JSON.stringify(to)} ${kind} ${body.toString()}`);
          return encodeLeaderNews({ isFull: true, leads: [], left: [], out: [] });
        },
      },
      openMember: (group, seams) => this.#openMember(group, seams),
    });
    return { set, record };
  }

  member(number: number): FakeMember {
    const member = this.members.get(groupIdOf(number));
    assert.ok(member !== undefined);
    return member;
  }

  async #openMember({ groupId }: ReplicaRecord, seams: GroupSeams): Promise<FakeMember> {
    this.opened.push(groupId);
    await this.openHold;
    const fault = this.openFault?.(groupId);
    if (fault !== undefined) throw fault;
    const { directory } = seams;
    if (!this.disk.isDirectory(directory)) {
      if (!seams.createIfMissing) throw new ProglogError("LOG_NOT_FOUND", `Cannot open ${directory}: there is no log`);
      await this.disk.makeDirectory(directory);
      const file = this.disk.open(`${directory}/store`, "create");
      file.close();
      await this.disk.syncDirectory(directory);
    }
    const member = new FakeMember(seams);
    this.members.set(groupId, member);
    return member;
  }
}

const kindsOf = (set: GroupSet<FakeMember>): string[] => [...set.states()].map(({ state }) => state.kind);
const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 200; turn += 1) await Promise.resolve();
};

describe("the groups of a node", () => {
  test("what is created is noted, opened, and there again after the power was cut", async () => {
    const world = new World();
    const { set, record } = await world.open();
    const members = await Promise.all([1, 2, 3].map((number) => set.create(recordOf(number))));
    assert.equal(members[1], world.member(2));
    assert.equal(set.find(groupIdOf(2)), members[1]);
    assert.deepEqual(
      record.state.replicas.map(({ groupId, state }) => [groupId, state]),
      [1, 2, 3].map((number) => [groupIdOf(number), "created"]),
    );
    await world.member(1).seams.hardState.write({ term: 4, vote });
    const next = new World(world.disk.crash(loseAll));
    const again = await next.open();
    assert.deepEqual(kindsOf(again.set), []);
    await again.set.openAll();
    assert.deepEqual(kindsOf(again.set), ["open", "open", "open"]);
    assert.deepEqual(next.member(1).seams.hardState.saved, { term: 4, vote });
    assert.equal(next.member(2).seams.hardState.saved, undefined);
    await again.set.close(reason);
    await again.set.close(reason);
    assert.ok([...next.members.values()].every(({ isClosed }) => isClosed));
    assert.equal(next.disk.openFileCount, 0);
    await assert.rejects(again.set.create(recordOf(9)), (error) => isProglogError(error, "SHUTTING_DOWN"));
    await set.close(reason);
  });

  test("they are opened a few at a time", async () => {
    const world = new World();
    const first = await world.open();
    await Promise.all(Array.from({ length: 10 }, (_, number) => first.set.create(recordOf(number))));
    await first.set.close(reason);
    const hold = Promise.withResolvers<void>();
    const next = new World(world.disk);
    next.openHold = hold.promise;
    const { set } = await next.open();
    const opening = set.openAll();
    await settle();
    assert.equal(next.opened.length, logOpensMaxCount);
    assert.ok(kindsOf(set).every((kind) => kind === "opening"));
    hold.resolve();
    await opening;
    assert.ok(kindsOf(set).every((kind) => kind === "open"));
    await set.close(reason);
  });

  test("a node that stops while it opens its replicas opens no more of them", async () => {
    const world = new World();
    const first = await world.open();
    await Promise.all(Array.from({ length: 10 }, (_, number) => first.set.create(recordOf(number))));
    await first.set.close(reason);
    const hold = Promise.withResolvers<void>();
    const next = new World(world.disk);
    next.openHold = hold.promise;
    const { set } = await next.open();
    const opening = set.openAll();
    await settle();
    const closing = set.close(reason);
    hold.resolve();
    await Promise.all([opening, closing]);
    assert.equal(next.opened.length, logOpensMaxCount);
    assert.ok([...next.members.values()].every(({ isClosed }) => isClosed));
    assert.equal(next.disk.openFileCount, 0);
  });

  test("one that doesn't open is failed, one without files is lost and isn't made anew, and the others serve", async () => {
    const world = new World();
    const first = await world.open();
    await Promise.all([1, 2, 3].map((number) => first.set.create(recordOf(number))));
    await world.member(2).seams.hardState.write({ term: 1, vote: undefined });
    await first.set.close(reason);
    const directory = `/n/logs/${groupIdOf(2)}`;
    world.disk.remove(`${directory}/store`);
    world.disk.removeDirectory(directory);
    const next = new World(world.disk);
    next.openFault = (groupId) => (groupId === groupIdOf(1) ? new ProglogError("LOG_CORRUPT", "Cannot open it") : undefined);
    const { set } = await next.open();
    await set.openAll();
    assert.deepEqual(kindsOf(set), ["failed", "lost", "open"]);
    assert.equal(world.disk.isDirectory(directory), false);
    set.received(groupIdOf(1), append());
    set.received(groupIdOf(2), append());
    set.received("of no group here", append());
    next.openFault = undefined;
    await set.reopen(groupIdOf(1));
    await set.reopen(groupIdOf(2));
    assert.deepEqual(kindsOf(set), ["open", "lost", "open"]);
    await set.close(reason);
  });

  test("a replica that can't be made is in the set, failed, and one that couldn't be noted isn't", async () => {
    const world = new World();
    const { set, record } = await world.open();
    world.openFault = () => new ProglogError("DISK_FULL", "Cannot make it");
    await assert.rejects(set.create(recordOf(1)), (error) => isProglogError(error, "DISK_FULL"));
    assert.deepEqual([kindsOf(set), record.state.replicas.length], [["failed"], 1]);
    world.disk.fail({ kind: "create", path: "node-record.tmp", code: "ENOSPC", times: 2 });
    await assert.rejects(set.create(recordOf(2)), (error) => isProglogError(error, "DISK_FULL"));
    assert.deepEqual([kindsOf(set), record.state.replicas.length], [["failed"], 1]);
    await set.close(reason);
  });

  test("one that couldn't be made, and has neither voted nor acknowledged anything, is made when it is opened again", async () => {
    const world = new World();
    const { set } = await world.open();
    world.openFault = () => new ProglogError("DISK_FULL", "Cannot make it");
    await assert.rejects(set.create(recordOf(1)), (error) => isProglogError(error, "DISK_FULL"));
    world.openFault = undefined;
    await set.reopen(groupIdOf(1));
    assert.deepEqual(kindsOf(set), ["open"]);
    await set.close(reason);
  });

  test("one that is opened again while its hard state is being written begins with that", async () => {
    const world = new World();
    const { set } = await world.open();
    await set.create(recordOf(1));
    const hold = world.disk.holdSync({ path: /hard-state/ });
    const written = world.member(1).seams.hardState.write({ term: 7, vote });
    const reopened = set.reopen(groupIdOf(1));
    await hold.waiting(1);
    await settle();
    assert.deepEqual(world.opened.length, 1);
    hold.release();
    await Promise.all([written, reopened]);
    assert.deepEqual(world.member(1).seams.hardState.saved, { term: 7, vote });
    await set.close(reason);
  });

  test("a creation that was cut short, at whatever call, is there or never was, and the others are as they were", async () => {
    const seen = new Set<string>();
    for (let nth = 1, struck = true; struck; nth += 1) {
      const world = new World();
      const { set } = await world.open();
      await set.create(recordOf(1));
      await world.member(1).seams.hardState.write({ term: 3, vote });
      const fault = world.disk.fail({
        kind: ["write", "datasync", "rename", "make-directory", "sync-directory", "create"],
        nth,
        times: Number.POSITIVE_INFINITY,
        code: "EIO",
        effect: "none",
      });
      const outcome = await set.create(recordOf(2)).then(
        () => "made",
        () => "failed",
      );
      struck = fault.struckCount > 0;
      assert.equal(outcome, struck ? "failed" : "made");
      const next = new World(world.disk.crash(loseAll));
      const again = await next.open();
      await again.set.openAll();
      const [first, second = "never was"] = kindsOf(again.set);
      assert.equal(first, "open");
      seen.add(second);
      if (!struck) assert.equal(second, "open");
      assert.deepEqual(next.member(1).seams.hardState.saved, { term: 3, vote });
      await again.set.close(reason);
    }
    assert.deepEqual([...seen].toSorted(), ["never was", "open"]);
  });

  test("a deletion takes files and hard state, and leaves the others'; another incarnation may come after it", async () => {
    const world = new World();
    const { set, record } = await world.open();
    await Promise.all([1, 2].map((number) => set.create(recordOf(number))));
    for (const number of [1, 2]) await world.member(number).seams.hardState.write({ term: 3, vote });
    const member = world.member(1);
    const deletion = set.delete(groupIdOf(1), 0);
    await settle();
    await deletion;
    assert.deepEqual([member.isClosed, kindsOf(set)], [true, ["open"]]);
    assert.deepEqual(world.disk.list("/n/logs"), [groupIdOf(2)]);
    assert.deepEqual(
      record.state.replicas.map(({ state }) => state),
      ["deleted", "created"],
    );
    await set.create(recordOf(1, 7));
    assert.equal(world.member(1).seams.hardState.saved, undefined);
    await world.member(1).seams.hardState.write({ term: 1, vote });
    assert.deepEqual(world.member(2).seams.hardState.saved, { term: 3, vote });
    await set.close(reason);
  });

  test("who leads a group stays known where its replica is deleted, until the group is", async () => {
    const world = new World();
    const { set } = await world.open();
    await Promise.all([1, 2].map((number) => set.create(recordOf(number))));
    world.member(1).becomes("b", 3, "a");
    world.member(2).becomes("a", 4, "a");
    for (const number of [1, 2]) await set.delete(groupIdOf(number), 0);
    assert.deepEqual(
      [1, 2].map((number) => set.findLeader(groupIdOf(number))),
      [{ leaderId: "b", term: 3 }, undefined],
    );
    set.forgetLeader(groupIdOf(1));
    assert.equal(set.findLeader(groupIdOf(1)), undefined);
    await set.close(reason);
  });

  test("a deletion that was cut short, at whatever call, is finished at the next start, and never touches another", async () => {
    for (let nth = 1, struck = true; struck; nth += 1) {
      const world = new World();
      const { set } = await world.open();
      await Promise.all([1, 2].map((number) => set.create(recordOf(number))));
      for (const number of [1, 2]) await world.member(number).seams.hardState.write({ term: 3, vote });
      const fault = world.disk.fail({
        kind: ["write", "datasync", "rename", "remove", "remove-directory", "sync-directory", "create"],
        nth,
        times: Number.POSITIVE_INFINITY,
        code: "EIO",
        effect: "none",
      });
      const hasBegun = await set.delete(groupIdOf(1), 0).then(
        () => "done",
        () => "failed",
      );
      struck = fault.struckCount > 0;
      assert.equal(hasBegun, struck ? "failed" : "done");
      const next = new World(world.disk.crash(loseAll));
      const again = await next.open();
      await again.set.openAll();
      const isListed = again.record.state.replicas[0]?.state === "created";
      assert.deepEqual(kindsOf(again.set), isListed ? ["open", "open"] : ["open"]);
      assert.deepEqual(next.disk.list("/n/logs"), isListed ? [groupIdOf(1), groupIdOf(2)] : [groupIdOf(2)]);
      assert.deepEqual(next.member(2).seams.hardState.saved, { term: 3, vote });
      await again.set.close(reason);
    }
  });

  test("a deletion takes what a crash between the names of two logs has left, too", async () => {
    const world = new World();
    const { set, record } = await world.open();
    await Promise.all([1, 2].map((number) => set.create(recordOf(number))));
    await record.setReplicaState(groupIdOf(1), 0, "deleting");
    await set.close(reason);
    const directory = `/n/logs/${groupIdOf(1)}`;
    await world.disk.makeDirectory(`${directory}.incoming`);
    world.disk.rename(directory, `${directory}.replaced`);
    const again = await world.open();
    await again.set.openAll();
    assert.deepEqual(world.disk.list("/n/logs"), [groupIdOf(2)]);
    assert.equal(again.record.state.replicas[0]?.state, "deleted");
    await again.set.close(reason);
  });

  test("while one is being deleted no other of its group is made", async () => {
    const world = new World();
    const { set } = await world.open();
    await set.create(recordOf(1));
    const hold = world.disk.holdSync({ path: /hard-state/ });
    const written = world.member(1).seams.hardState.write({ term: 1, vote });
    const deletion = set.delete(groupIdOf(1), 0);
    await hold.waiting(1);
    await settle();
    assert.deepEqual(kindsOf(set), ["deleting"]);
    await assert.rejects(set.create(recordOf(1, 1)), (error) => isProglogError(error, "CHANGE_IN_PROGRESS"));
    set.received(groupIdOf(1), append());
    hold.release();
    await Promise.all([written, deletion]);
    await set.create(recordOf(1, 1));
    await set.close(reason);
  });

  test("a deletion that is asked for twice takes nothing of what came after it", async () => {
    const world = new World();
    const { set, record } = await world.open();
    await set.create(recordOf(1));
    const [first, second] = [set.delete(groupIdOf(1), 0), set.delete(groupIdOf(1), 0)];
    await first;
    await Promise.all([set.create(recordOf(1, 1)), second]);
    assert.deepEqual([kindsOf(set), world.disk.list("/n/logs")], [["open"], [groupIdOf(1)]]);
    assert.deepEqual(
      record.state.replicas.map(({ state }) => state),
      ["deleted", "created"],
    );
    await set.close(reason);
  });

  test("closing waits for every replica, tells what one failed with, and has hard states written until the end", async () => {
    const world = new World();
    const { set } = await world.open();
    await Promise.all([1, 2].map((number) => set.create(recordOf(number))));
    const hold = Promise.withResolvers<void>();
    world.member(1).closeHold = hold.promise;
    world.member(2).closeFault = new Error("couldn't sync");
    const closing = set.close(reason);
    const settled = closing.catch((error: unknown) => String(error));
    await settle();
    await world.member(1).seams.hardState.write({ term: 9, vote });
    hold.resolve();
    assert.match(String(await settled), /couldn't sync/);
    assert.deepEqual([world.member(1).isClosed, world.disk.openFileCount], [true, 0]);
  });

  test("a missing file of hard states keeps a node that had groups from starting", async () => {
    const world = new World();
    const { set } = await world.open();
    await set.create(recordOf(1));
    await set.close(reason);
    world.disk.remove(`/n/${hardStateName}`);
    await assert.rejects(world.open(), (error) => isProglogError(error, "MANIFEST_CORRUPT"));
  });
});

describe("what the groups of a node are told", () => {
  test("all that are awake tick in one turn; those that sleep are woken now and then, sooner where they are led", async () => {
    const world = new World();
    const { set } = await world.open();
    await Promise.all([1, 2, 3].map((number) => set.create(recordOf(number))));
    world.member(2).becomes("a", 1, "a");
    world.member(2).sleeps();
    world.member(3).sleeps();
    world.clock.advance(groupWakeMs);
    assert.equal(world.member(1).tickCount, groupWakeMs / groupTickMs);
    assert.deepEqual([world.member(2).tickCount, world.member(2).told, world.member(3).told], [0, ["wake"], []]);
    world.clock.advance(groupWakeMs);
    assert.deepEqual([world.member(2).told.length >= 2, world.member(3).told], [true, ["wake"]]);
    world.member(3).wakes();
    world.clock.advance(groupTickMs);
    assert.deepEqual([world.member(2).tickCount, world.member(3).tickCount], [0, 1]);
    await set.close(reason);
    assert.equal(world.virtual.timerCount, 0);
  });

  test("one that failed is neither ticked nor woken", async () => {
    const world = new World();
    const { set } = await world.open();
    await Promise.all([1, 2].map((number) => set.create(recordOf(number))));
    world.member(1).sleeps();
    for (const number of [1, 2]) world.member(number).seams.failed(new Error("broken"));
    world.member(1).wakes();
    world.clock.advance(2 * groupWakeMs);
    assert.deepEqual([world.member(1).told, world.member(1).tickCount, world.member(2).tickCount], [[], 0, 0]);
    await set.close(reason);
  });

  test("messages go to their group, and a connection that broke is told to all", async () => {
    const world = new World();
    const { set } = await world.open();
    await Promise.all([1, 2].map((number) => set.create(recordOf(number))));
    set.received(groupIdOf(2), append(Buffer.alloc(3)));
    set.connected(peerOf("b"));
    set.disconnected("b");
    assert.deepEqual(world.member(1).told, ["found b", "disconnected b"]);
    assert.deepEqual(world.member(2).told, ["append of b, 1 frames", "found b", "disconnected b"]);
    world.clock.advance(peerLostAfterMs + groupTickMs);
    assert.deepEqual(set.status.lostPeers, ["b"]);
    set.connected(peerOf("b", 2));
    assert.deepEqual(world.member(1).told.slice(2), ["lost b", "found b"]);
    set.setPeers(["b", "c"]);
    world.clock.advance(peerLostAfterMs + groupTickMs);
    await set.create(recordOf(3));
    assert.deepEqual(world.member(3).told, ["lost c"], "a new one hears who is lost");
    await set.close(reason);
  });

  test("one that throws is failed and closed, and the others go on", async () => {
    const world = new World();
    const { set } = await world.open();
    await Promise.all([1, 2, 3].map((number) => set.create(recordOf(number))));
    world.member(1).fault = new Error("believed what isn't so");
    world.member(2).becomes("a", 5, "a");
    world.clock.advance(groupTickMs);
    world.member(2).seams.failed(new Error("stopped itself"));
    await settle();
    assert.deepEqual(kindsOf(set), ["failed", "failed", "open"]);
    assert.deepEqual([world.member(1).isClosed, world.member(2).isClosed, world.member(3).tickCount], [true, true, 1]);
    assert.equal(set.findLeader(groupIdOf(2)), undefined, "it leads no more");
    assert.equal(set.find(groupIdOf(1)), undefined);
    const old = world.member(2);
    await set.reopen(groupIdOf(2));
    old.seams.failed(new Error("again"));
    old.becomes("a", 6, "a");
    assert.deepEqual(
      [kindsOf(set), set.findLeader(groupIdOf(2))],
      [["failed", "open", "open"], undefined],
      "an earlier one says nothing",
    );
    await set.close(reason);
  });

  test("entries are taken from peers only as far as the node's bound goes, and appends are refused past it", async () => {
    const world = new World();
    const { set } = await world.open();
    await Promise.all([1, 2].map((number) => set.create(recordOf(number))));
    set.received(groupIdOf(1), append(Buffer.alloc(unsyncedMaxBytes / 2), Buffer.alloc(unsyncedMaxBytes / 2)));
    set.received(groupIdOf(2), append(Buffer.alloc(1)));
    set.received(groupIdOf(2), append());
    assert.deepEqual(world.member(2).told, ["append of b, 0 frames"], "what has no entries is heard");
    assert.deepEqual([set.status.unsyncedBytes, set.status.droppedCount], [unsyncedMaxBytes, 1]);
    const { seams } = world.member(2);
    assert.throws(
      () => seams.checkRoom(1),
      (error) => isProglogError(error, "OVERLOADED"),
    );
    world.member(1).seams.unsynced.give(1);
    seams.checkRoom(1);
    set.received(groupIdOf(2), append(Buffer.alloc(1)));
    assert.equal(world.member(2).told.length, 2);
    await set.delete(groupIdOf(1), 0);
    assert.equal(set.status.unsyncedBytes, 1, "who is gone holds nothing");
    await set.close(reason);
    assert.equal(set.status.unsyncedBytes, 0);
  });

  test("leadership is handed over while a sync is under way for two seconds", async () => {
    const world = new World();
    const { set } = await world.open();
    await Promise.all([1, 2].map((number) => set.create(recordOf(number))));
    world.member(1).becomes("a", 1, "a");
    const hold = world.disk.holdSync();
    const written = world.member(1).seams.hardState.write({ term: 1, vote });
    await hold.waiting(1);
    world.clock.advance(diskStallMs - 2 * groupTickMs);
    assert.deepEqual([world.member(1).told, set.status.isDiskStalled], [[], false]);
    world.clock.advance(3 * groupTickMs);
    assert.deepEqual([world.member(1).told.includes("transfer"), set.status.isDiskStalled], [true, true]);
    assert.deepEqual(world.member(2).told, [], "what it doesn't lead it can't hand over");
    hold.release();
    await written;
    await settle();
    const before = world.member(1).told.length;
    world.clock.advance(groupTickMs);
    assert.deepEqual([world.member(1).told.length, set.status.isDiskStalled], [before, false]);
    set.handOverAll();
    assert.equal(world.member(1).told.length, before + 1);
    await set.close(reason);
  });

  test("leadership is handed over when hard states can't be written any more", async () => {
    const world = new World();
    const { set } = await world.open();
    await Promise.all([1, 2].map((number) => set.create(recordOf(number))));
    world.member(1).becomes("a", 1, "a");
    world.disk.fail({ kind: "datasync", path: /hard-state/, code: "EIO" });
    await assert.rejects(world.member(2).seams.hardState.write({ term: 1, vote }), (error) =>
      isProglogError(error, "DISK_FAILED"),
    );
    assert.equal(set.status.hardStateError?.code, "DISK_FAILED");
    world.clock.advance(groupTickMs);
    assert.deepEqual([world.member(1).told, world.member(2).told], [["transfer"], []]);
    await set.close(reason);
  });

  test("a loop that stood still takes its own stall neither for the disk's nor for the loss of a peer", async () => {
    const world = new World();
    const { set } = await world.open();
    await set.create(recordOf(1));
    world.member(1).becomes("a", 1, "a");
    set.connected(peerOf("b"));
    set.disconnected("b");
    const hold = world.disk.holdSync();
    const written = world.member(1).seams.hardState.write({ term: 1, vote });
    await hold.waiting(1);
    const { tickCount } = world.member(1);
    world.stalledMs += 60_000;
    world.clock.advance(groupTickMs);
    // What the loop finds when it goes on.
    set.connected(peerOf("b"));
    hold.release();
    await written;
    await settle();
    assert.equal(world.member(1).tickCount - tickCount, defaultSettings.electionTicks, "no more is made up");
    world.clock.advance(10 * groupTickMs);
    assert.deepEqual(world.member(1).told, ["found b", "disconnected b"]);
    assert.equal(set.status.stallCount, 1);
    await set.close(reason);
  });

  test("who leads is known of own groups and of others', and told to peers at the tick", async () => {
    const world = new World();
    const { set } = await world.open();
    await Promise.all([1, 2].map((number) => set.create(recordOf(number))));
    world.member(1).becomes("a", 3, "a");
    world.member(2).becomes("b", 2, "a");
    assert.deepEqual(set.findLeader(groupIdOf(1)), { leaderId: "a", term: 3 });
    assert.deepEqual(set.findLeader(groupIdOf(2)), { leaderId: "b", term: 2 });
    set.connected(peerOf("b"));
    const told = (at: number): unknown => JSON.parse(world.asked[at]?.split(" leaders ")[1] ?? "null");
    world.clock.advance(groupTickMs);
    await settle();
    assert.deepEqual(told(0), { isFull: true, leads: [[groupIdOf(1), 3]], left: [], out: [] });
    world.member(1).becomes(undefined, 4, "a");
    world.member(2).becomes("a", 3, "a");
    world.clock.advance(groupTickMs);
    await settle();
    assert.deepEqual(told(1), { isFull: false, leads: [[groupIdOf(2), 3]], left: [[groupIdOf(1), 3]], out: [] });
    assert.equal(set.findLeader(groupIdOf(1)), undefined);
    const answer = set.answerLeaders("c", encodeLeaderNews({ isFull: true, leads: [[groupIdOf(1), 4]], left: [], out: [] }));
    assert.deepEqual(JSON.parse(answer.toString()), { isFull: true, leads: [[groupIdOf(2), 3]], left: [], out: [] });
    assert.deepEqual(set.findLeader(groupIdOf(1)), { leaderId: "c", term: 4 });
    await set.close(reason);
  });

  test("a replica that is out of action while its node lives is lost to its group on other nodes, and found when it is back", async () => {
    const world = new World();
    const { set } = await world.open();
    await Promise.all([1, 2].map((number) => set.create(recordOf(number))));
    const says = (...out: string[]): void => {
      set.answerLeaders("b", encodeLeaderNews({ isFull: false, leads: [], left: [], out }));
    };
    says(groupIdOf(1), groupIdOf(3), "of no group here");
    says(groupIdOf(3));
    assert.deepEqual([world.member(1).told, world.member(2).told], [["lost b", "found b"], []]);
    await set.create(recordOf(3));
    assert.deepEqual(world.member(3).told, ["lost b"], "one that opens later hears it, too");

    set.connected(peerOf("b"));
    world.clock.advance(groupTickMs);
    await settle();
    const outs = (): readonly (readonly string[])[] =>
      world.asked.map((asked) => decodeLeaderNews(Buffer.from(asked.split(" leaders ")[1] ?? "")).out);
    world.member(1).seams.failed(new Error("stopped itself"));
    world.clock.advance(groupTickMs);
    await settle();
    await set.reopen(groupIdOf(1));
    world.clock.advance(groupTickMs);
    await settle();
    assert.deepEqual(outs(), [[], [groupIdOf(1)], []]);
    await set.close(reason);
  });
});
