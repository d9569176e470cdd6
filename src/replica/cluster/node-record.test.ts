import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { countChoices, everyChoice, loseAll } from "../../../sim/crash.ts";
import { createSimDisk, type SimDisk } from "../../../sim/disk.ts";
import { writeUint64LE } from "../../base/bytes.ts";
import { isProglogError } from "../../base/error.ts";
import { bootCountersMaxCount, nodeRecordChangesMaxCount } from "../../base/cluster-limits.ts";
import { crc32c } from "../../batch/crc32c.ts";
import type { FormationProposal } from "./formation-proposal.ts";
import { findReplica, NodeRecord } from "./node-record.ts";
import {
  decodeNodeRecord,
  encodeNodeRecord,
  type HeardStart,
  type NodeRecordState,
  readNodeRecord,
} from "./node-record-state.ts";

const path = "/data/node-record";

describe("a node record", () => {
  test("is made with the directory, and counts its starts durably", async () => {
    const disk = await makeDisk();
    const first = await open(disk);
    assert.equal(first.state.storageId, hex(1));
    assert.equal(first.state.bootCounter, 1);
    const again = await NodeRecord.open(disk.crash(loseAll), "/data", () => assert.fail("it has a storage id"));
    assert.equal(again.state.bootCounter, 2);
    assert.equal(again.state.storageId, hex(1));
  });

  test("isn't there before its first start, and then is no other than the one written", async () => {
    const disk = await makeDisk();
    assert.equal(readNodeRecord(disk, path), undefined);
    const record = await filled(disk);
    assert.deepEqual(readNodeRecord(disk.crash(loseAll), path), record.state);
  });

  test("says what is durable, and nothing sooner", async () => {
    const disk = await makeDisk();
    const record = await open(disk);
    const hold = disk.holdSync();
    const promised = record.promise(proposal(9));
    await Promise.resolve();
    assert.equal(record.state.promise, undefined);
    hold.release();
    await promised;
    assert.deepEqual(record.state.promise, proposal(9));
  });

  test("that is closed waits for what was asked of it, and takes no more", async () => {
    const disk = await makeDisk();
    const record = await open(disk);
    const hold = disk.holdSync();
    const promised = record.promise(proposal(9));
    let isClosed = false;
    const closing = record.close().then(() => (isClosed = true));
    await rejects(record.setName("late"), "SHUTTING_DOWN");
    await hold.waiting(1);
    assert.equal(isClosed, false);
    hold.release();
    await Promise.all([promised, closing, record.close()]);
    assert.deepEqual(readNodeRecord(disk.crash(loseAll), path)?.promise, proposal(9));
  });

  test("that was put back to an earlier state is opened no more, however often it is started", async () => {
    const disk = await makeDisk();
    const record = await open(disk);
    await record.notePutBack();
    await record.notePutBack();
    for (const image of [disk, disk.crash(loseAll)])
      await assert.rejects(open(image), { code: "PEER_REFUSED", message: /put back to an earlier state/ });
  });

  test("a power cut at any moment of a change leaves the state before or behind it", async () => {
    const changes: readonly ((record: NodeRecord) => Promise<void>)[] = [
      (record) => record.setName("n1"),
      (record) => record.promise(proposal(9)),
      (record) => record.noteStart(hex(2), startOf(4)),
      (record) => record.adopt(hex(9)),
      (record) => record.addReplicas([replica(9, 0)]),
      (record) => record.setReplicaState(hex(9), 0, "deleting"),
    ];
    let imageCount = 0;
    const found = new Set<number>();
    for (const [number, change] of changes.entries()) {
      const start = await makeDisk();
      const prepared = await open(start);
      for (const earlier of changes.slice(0, number)) await earlier(prepared);
      const images: SimDisk[] = [];
      const cut = (): void => {
        const points = disk.crashPoints();
        assert.ok(countChoices(points) < 1_000);
        for (const choice of everyChoice(points)) images.push(disk.crash(choice));
      };
      let isChanging = false;
      const disk = start.endProcess({ onCall: () => void (isChanging && cut()) });
      const record = await open(disk);
      const before = record.state;
      isChanging = true;
      await change(record);
      for (const image of images) {
        const read = readNodeRecord(image, path);
        assert.deepEqual(read, read?.generation === before.generation ? before : record.state);
        found.add(read.generation - before.generation);
      }
      imageCount += images.length;
      assert.deepEqual(readNodeRecord(disk.crash(loseAll), path), record.state, "durable when it resolves");
    }
    assert.deepEqual(found, new Set([0, 1]));
    assert.ok(imageCount > 100, String(imageCount));
  });

  test("changes that gather while the disk is busy go there in one write, each judged against what those before it left", async () => {
    const disk = await makeDisk();
    const record = await open(disk);
    const first = record.setName("a");
    const outcomes = [
      record.promise(proposal(8)),
      record.promise(proposal(9)),
      record.noteStart(hex(2), startOf(1)),
      record.noteStart(hex(3), startOf(1)),
    ].map((change) =>
      change.then(
        () => "done",
        (error: unknown) => (isProglogError(error) ? error.code : "thrown"),
      ),
    );
    await first;
    const { generation } = record.state;
    assert.deepEqual(await Promise.all(outcomes), ["done", "PEER_REFUSED", "done", "done"]);
    assert.equal(record.state.generation, generation + 1);
    assert.equal(record.state.promise?.clusterId, hex(8));
  });

  test("a storage id promises once, and never another cluster", async () => {
    const record = await open(await makeDisk());
    await record.promise(proposal(9));
    await record.promise(proposal(9));
    await rejects(record.promise(proposal(8)), "PEER_REFUSED");
    await rejects(record.join(hex(8), 0), "PEER_REFUSED");
    await rejects(record.adopt(hex(8)), "PEER_REFUSED");
    await record.adopt(hex(9));
    await record.adopt(hex(9));
    await rejects(record.promise(proposal(8)), "PEER_REFUSED");
    await rejects(record.join(hex(8), 0), "PEER_REFUSED");
    await rejects(record.renew(hex(7), hex(9)), "PEER_REFUSED");
    assert.equal(record.state.clusterId, hex(9));
  });

  test("who joined a cluster promises nothing, and joins no other", async () => {
    const record = await open(await makeDisk());
    await record.join(hex(8), 12);
    await record.join(hex(8), 12);
    assert.equal(record.state.catalogIncarnation, 12);
    await rejects(record.join(hex(9), 0), "PEER_REFUSED");
    await rejects(record.promise(proposal(9)), "PEER_REFUSED");
    await rejects(record.adopt(hex(9)), "PEER_REFUSED");
  });

  test("a promise is dropped with the storage id that gave it, and only the one that is named", async () => {
    const disk = await makeDisk();
    const record = await open(disk);
    await record.promise(proposal(9));
    await record.renew(hex(5), hex(8));
    assert.equal(record.state.storageId, hex(1));
    await record.renew(hex(5), hex(9));
    assert.equal(record.state.storageId, hex(5));
    assert.equal(record.state.promise, undefined);
    await rejects(record.promise(proposal(9)), "PEER_REFUSED");
    assert.deepEqual(readNodeRecord(disk.crash(loseAll), path), record.state);
  });

  test("the highest boot counter of a disk stays, and the disk not heard of for longest is forgotten", async () => {
    const record = await open(await makeDisk());
    await record.noteStart(hex(2), startOf(7));
    await record.noteStart(hex(2), startOf(6));
    assert.deepEqual(record.state.bootCounters.get(hex(2)), startOf(7));
    const others = Array.from({ length: bootCountersMaxCount - 1 }, (_, number) => hex(100 + number));
    await Promise.all(others.map((storageId) => record.noteStart(storageId, startOf(1))));
    await record.noteStart(hex(2), startOf(8));
    assert.equal(record.state.bootCounters.size, bootCountersMaxCount);
    await record.noteStart(hex(3), startOf(1));
    assert.equal(record.state.bootCounters.size, bootCountersMaxCount);
    assert.deepEqual(record.state.bootCounters.get(hex(2)), startOf(8));
    assert.equal(record.state.bootCounters.has(hex(100)), false);
  });

  test("whose a boot counter was stays, and is learned where it wasn't known", async () => {
    const record = await open(await makeDisk());
    await record.noteStart(hex(2), { bootCounter: 7, life: undefined });
    await record.noteStart(hex(2), startOf(7));
    await record.noteStart(hex(2), { bootCounter: 7, life: "fedcba0987654321" });
    assert.deepEqual(record.state.bootCounters.get(hex(2)), startOf(7));
    await record.noteStart(hex(2), { bootCounter: 7, life: undefined });
    assert.deepEqual(record.state.bootCounters.get(hex(2)), startOf(7));
  });

  test("a replica is listed from before it is made until the catalog can't name it again", async () => {
    const record = await open(await makeDisk());
    await record.addReplicas([replica(8, 3), replica(9, 4)]);
    await assert.rejects(record.addReplicas([replica(8, 5)]), /one replica here/);
    await assert.rejects(record.setReplicaState(hex(8), 3, "deleted"), /was noted/);
    await assert.rejects(record.setReplicaState(hex(8), 4, "deleting"), /is listed/);
    await record.setReplicaState(hex(8), 3, "deleting");
    await record.setReplicaState(hex(8), 3, "deleted");
    await record.setReplicaState(hex(8), 3, "deleting");
    assert.equal(findReplica(record.state, hex(8), 3)?.state, "deleted");
    await assert.rejects(record.addReplicas([replica(8, 3)]), /comes once/);
    await record.addReplicas([replica(8, 5)]);
    await record.forgetReplicas(3);
    assert.equal(record.state.replicas.length, 3, "that one was placed later");
    await record.forgetReplicas(4);
    assert.equal(record.state.placedBefore, 4);
    assert.deepEqual(
      record.state.replicas.map(({ groupId, incarnation, state }) => [groupId, incarnation, state]),
      [
        [hex(9), 4, "created"],
        [hex(8), 5, "created"],
      ],
    );
  });

  test("a change that fails leaves what was, and says whether it can be known", async () => {
    const disk = await makeDisk();
    const record = await open(disk);
    disk.fail({ kind: "datasync", code: "ENOSPC", times: 2 });
    await rejects(record.promise(proposal(9)), "DISK_FULL");
    assert.equal(record.state.promise, undefined);
    await record.promise(proposal(8));
    disk.fail({ kind: "sync-directory", code: "EIO", nth: 1 });
    await rejects(record.adopt(hex(8)), "DISK_FAILED");
    assert.equal(record.state.clusterId, undefined);
    await rejects(record.adopt(hex(8)), "DISK_FAILED");
    assert.match(String(await record.setName("x").catch((error: unknown) => error)), /an earlier write of it failed/);
  });

  test("changes are refused when too many wait", async () => {
    const record = await open(await makeDisk());
    const name = record.setName("n");
    const waiting = Array.from({ length: nodeRecordChangesMaxCount }, () => record.noteStart(hex(2), startOf(1)));
    await rejects(record.noteStart(hex(2), startOf(1)), "OVERLOADED");
    await Promise.all([name, ...waiting]);
  });
});

function startOf(bootCounter: number): HeardStart {
  return { bootCounter, life: "1234567890abcdef" };
}

describe("a node record's bytes", () => {
  const state: NodeRecordState = {
    generation: 3,
    storageId: hex(1),
    nodeName: undefined,
    clusterId: undefined,
    bootCounter: 2,
    promise: undefined,
    bootCounters: new Map(),
    catalogIncarnation: 0,
    peers: [],
    placedBefore: 0,
    replicas: [],
  };

  test("are those of docs/format.md", () => {
    const json = `{"storageId":"${hex(1)}","nodeName":null,"clusterId":null,"bootCounter":2,"promise":null,"bootCounters":{},"catalogIncarnation":0,"peers":[],"placedBefore":0,"replicas":[]}`;
    const head = Buffer.alloc(32);
    head.write("PLNODER1", "latin1");
    head.writeUInt32LE(1, 12);
    head.writeUInt32LE(3, 16);
    head.writeUInt32LE(json.length, 24);
    head.writeUInt32LE(crc32c(Buffer.concat([head.subarray(12), Buffer.from(json)])), 8);
    assert.deepEqual(encodeNodeRecord(state), Buffer.concat([head, Buffer.from(json)]));
  });

  test("with any bit flipped, cut short, or with bytes behind, are corrupt", async () => {
    const bytes = encodeNodeRecord({ ...state, promise: proposal(9), replicas: [{ ...replica(9, 0), state: "created" }] });
    for (let at = 0; at < bytes.length; at += 1) {
      const flipped = Buffer.from(bytes);
      flipped.writeUInt8(bytes.readUInt8(at) ^ (1 << (at % 8)), at);
      assertCorrupt(flipped);
      assertCorrupt(bytes.subarray(0, at));
    }
    assertCorrupt(Buffer.concat([bytes, Buffer.alloc(1)]));
  });

  const member = (number: number): object => ({ name: `n${number}`, storageId: hex(number), address: `n${number}:8000` });
  const promise = { clusterId: hex(9), proposer: hex(1), members: [member(1), member(2)] };
  const oneReplica = { groupId: uuid(1), incarnation: 1, logId: hex(1), firstMembers: null, state: "created" };
  const wrong: readonly (readonly [string, unknown])[] = [
    ["no object", []],
    ["an unknown field", body({ more: 1 })],
    ["a storage id that is none", body({ storageId: "X" })],
    ["an empty name", body({ nodeName: "" })],
    ["a cluster id that is none", body({ clusterId: "x" })],
    ["a boot counter that is none", body({ bootCounter: 1.5 })],
    ["a promise without itself", body({ promise: { ...promise, proposer: hex(2), members: [member(2)] } })],
    ["a promise of another cluster than its own", body({ promise, clusterId: hex(8) })],
    ["a promise whose proposer is no member", body({ promise: { ...promise, proposer: hex(5) } })],
    ["a promise with a member twice", body({ promise: { ...promise, members: [member(1), member(1)] } })],
    ["a catalog's incarnation below zero", body({ catalogIncarnation: -1 })],
    ["a peer without an address", body({ peers: [{ nodeId: "n2" }] })],
    ["boot counters of no disk", body({ bootCounters: { x: 1 } })],
    ["a boot counter below zero", body({ bootCounters: { [hex(2)]: -1 } })],
    ["a boot counter of no process", body({ bootCounters: { [hex(2)]: { bootCounter: 1, life: "me" } } })],
    ["a process without a boot counter", body({ bootCounters: { [hex(2)]: { life: "1234567890abcdef" } } })],
    ["a replica's group that is a path", body({ replicas: [{ ...oneReplica, groupId: "../../etc" }] })],
    ["a replica in an unknown state", body({ replicas: [{ ...oneReplica, state: "lost" }] })],
    [
      "a replica twice",
      body({
        replicas: [
          { ...oneReplica, state: "deleted" },
          { ...oneReplica, state: "deleted" },
        ],
      }),
    ],
    ["two replicas of a group", body({ replicas: [oneReplica, { ...oneReplica, incarnation: 2 }] })],
  ];
  for (const [what, json] of wrong)
    test(`of ${what} are corrupt though their checksum matches`, () => {
      const text = Buffer.from(JSON.stringify(json));
      const bytes = Buffer.concat([encodeNodeRecord(state).subarray(0, 32), text]);
      writeUint64LE(bytes, text.length, 24);
      bytes.writeUInt32LE(crc32c(bytes, 12), 8);
      assertCorrupt(bytes);
    });

  test("of a later version are unsupported, not corrupt", () => {
    const bytes = encodeNodeRecord(state);
    bytes.writeUInt32LE(2, 12);
    bytes.writeUInt32LE(crc32c(bytes, 12), 8);
    assert.throws(() => decodeNodeRecord(bytes, path), { code: "UNSUPPORTED_FORMAT" });
  });

  function body(change: object): object {
    const whole = {
      storageId: hex(1),
      nodeName: "n1",
      clusterId: null,
      bootCounter: 1,
      promise: null,
      bootCounters: {},
      catalogIncarnation: 0,
      peers: [],
      replicas: [],
    };
    return { ...whole, ...change };
  }

  function assertCorrupt(bytes: Buffer): void {
    assert.throws(
      () => decodeNodeRecord(bytes, path),
      (error) => isProglogError(error, "MANIFEST_CORRUPT") && error.message.includes(`the node record ${path}`),
    );
  }
});

async function makeDisk(): Promise<SimDisk> {
  const disk = createSimDisk({ isRecording: false });
  await disk.makeDirectory("/data");
  return disk;
}

function open(disk: SimDisk): Promise<NodeRecord> {
  return NodeRecord.open(disk, "/data", () => hex(1));
}

async function filled(disk: SimDisk): Promise<NodeRecord> {
  const record = await open(disk);
  await record.setName("n1");
  await record.promise(proposal(9));
  await record.adopt(hex(9));
  await record.noteStart(hex(2), startOf(4));
  await record.addReplicas([replica(9, 0), { ...replica(8, 3), firstMembers: undefined }]);
  await record.setReplicaState(hex(8), 3, "deleting");
  return record;
}

function proposal(number: number): FormationProposal {
  return {
    clusterId: hex(number),
    proposer: hex(2),
    members: [1, 2].map((member) => ({ name: `n${member}`, storageId: hex(member), address: `n${member}:8000` })),
  };
}

function replica(group: number, incarnation: number): Parameters<NodeRecord["addReplicas"]>[0][number] {
  return {
    groupId: hex(group),
    incarnation,
    logId: hex(77),
    firstMembers: [{ nodeId: "n1", storageId: `${hex(1)}/${incarnation}` }],
  };
}

function hex(number: number): string {
  return number.toString(16).padStart(32, "0");
}

function uuid(number: number): string {
  return `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;
}

async function rejects(promise: Promise<unknown>, code: string): Promise<void> {
  await assert.rejects(promise, { code });
}
