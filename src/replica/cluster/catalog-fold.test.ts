import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createSeededRandom, type SeededRandom } from "../../../sim/random.ts";
import { catalogSnapshotMinBytes, catalogSnapshotPartMaxChars, catalogSnapshotTimes } from "../../base/cluster-limits.ts";
import { recordMaxBytes } from "../../base/limits.ts";
import { type CatalogChange, encodeCommand } from "./catalog-command.ts";
import { CatalogFold, type CatalogRecord, catalogVersion } from "./catalog-fold.ts";
import { encodeState } from "./catalog-snapshot.ts";
import { randomCommand } from "./random-commands.ts";

const clusterId = "c".repeat(32);

describe("the fold of the catalog's log", () => {
  test("that begins at a snapshot knows what one from the start knows, whatever interrupted the others", () => {
    let lateCount = 0;
    for (let seed = 0; seed < 15; seed += 1) {
      const random = createSeededRandom(`fold ${seed}`);
      const { records, snapshots, fold } = randomLog(random);
      for (const at of snapshots) {
        // A trim that could not cut right before it leaves some records in front.
        const start = Math.max(1, at - random.integer(3));
        const late = foldFrom(records.slice(start), start);
        assert.equal(encodeState(late.state), encodeState(fold.state), `seed ${seed}, snapshot at ${at}`);
        assert.equal(late.snapshotOffset, fold.snapshotOffset);
        assert.equal(late.divergenceCount, 0);
        lateCount += 1;
      }
      assert.equal(fold.divergenceCount, 0);
      assert.equal(fold.snapshotOffset, snapshots.at(-1));
    }
    assert.ok(lateCount > 25, `${lateCount}`);
  });

  test("isn't ready without a whole snapshot that nothing came before", () => {
    const world = new LogWorld();
    world.add({ kind: "form-cluster", version: 1, clusterId, nodes: [node("n1")] });
    world.add({ kind: "set-policy", policy: "x".repeat(2 * catalogSnapshotPartMaxChars) });
    const parts = world.fold.takeSnapshot("s1");
    assert.ok(parts.length >= 3 && parts.every((part) => part.length <= recordMaxBytes));
    const start = world.records.length;
    world.append(...parts.slice(0, -1));
    world.add({ kind: "set-policy", policy: "y" });
    world.append(...parts.slice(-1));
    assert.equal(foldFrom(world.records.slice(start), start).isReady, false);
    // One that was taken before a record that came in between.
    const late = world.fold.takeSnapshot("s2");
    const lateStart = world.records.length;
    world.add({ kind: "set-policy", policy: "z" });
    world.append(...late);
    assert.equal(foldFrom(world.records.slice(lateStart), lateStart).isReady, false);
    assert.equal(world.fold.snapshotOffset, undefined);
    const whole = world.fold.takeSnapshot("s3");
    const wholeStart = world.records.length;
    world.append(...whole);
    const fold = foldFrom(world.records.slice(wholeStart), wholeStart);
    assert.equal(fold.isReady, true);
    assert.equal(fold.state.policy, "z");
    assert.equal(world.fold.snapshotOffset, wholeStart);
  });

  test("a piece that comes twice, or of another snapshot, makes the run none", () => {
    const world = new LogWorld();
    world.add({ kind: "form-cluster", version: 1, clusterId, nodes: [node("n1")] });
    world.add({ kind: "set-policy", policy: "x".repeat(catalogSnapshotPartMaxChars) });
    const [first = empty, second = empty] = world.fold.takeSnapshot("s1");
    world.append(first, first, second);
    assert.equal(world.fold.snapshotOffset, undefined);
    const [begin = empty] = world.fold.takeSnapshot("s2");
    const [, other = empty] = world.fold.takeSnapshot("s3");
    world.append(begin, other);
    assert.equal(world.fold.snapshotOffset, undefined);
  });

  test("a snapshot that says something else is shown, and taken up by all alike", () => {
    const world = new LogWorld();
    world.add({ kind: "form-cluster", version: 1, clusterId, nodes: [node("n1")] });
    const other = new LogWorld();
    other.add({ kind: "form-cluster", version: 1, clusterId, nodes: [node("n2")] });
    world.append(...other.fold.takeSnapshot("s1"));
    assert.equal(world.fold.divergenceCount, 1);
    assert.deepEqual([...world.fold.state.nodes.keys()], ["n2"]);
  });

  test("a snapshot is due when what was written is larger than the least and than four times the state", () => {
    const world = new LogWorld();
    world.add({ kind: "form-cluster", version: 1, clusterId, nodes: [node("n1")] });
    const policy = "p".repeat(100_000);
    let written = 0;
    while (!world.fold.isSnapshotDue) {
      assert.ok(written <= catalogSnapshotMinBytes + 200_000);
      written += world.add({ kind: "set-policy", policy });
    }
    assert.ok(written > catalogSnapshotMinBytes);
    world.append(...world.fold.takeSnapshot("s1"));
    assert.equal(world.fold.isSnapshotDue, false);
    // Now the state is what counts.
    const large = "q".repeat(700_000);
    for (let count = 0; count < catalogSnapshotTimes; count += 1) {
      assert.equal(world.fold.isSnapshotDue, false);
      world.add({ kind: "set-policy", policy: large });
    }
    world.add({ kind: "set-policy", policy: large });
    assert.equal(world.fold.isSnapshotDue, true);
  });

  test("a record that is no command changes nothing; a later format ends it", () => {
    const world = new LogWorld();
    world.add({ kind: "form-cluster", version: 1, clusterId, nodes: [{ ...node("n1"), version: 99 }] });
    const before = encodeState(world.fold.state);
    const offset = world.records.length;
    const folded = world.fold.fold({ offset, value: Buffer.from(`{"kind":"make-tea","id":"c1"}`) });
    assert.ok(folded?.outcome.kind === "refused");
    assert.equal(folded.outcome.error.message, `Cannot apply the command at offset 1: "make-tea" is no kind of command`);
    assert.equal(encodeState(world.fold.state), before);
    const raise = encodeCommand({ kind: "raise-version", id: "c2", version: catalogVersion + 1 });
    assert.throws(() => world.fold.fold({ offset: offset + 1, value: raise }), { code: "UNSUPPORTED_FORMAT" });
    const text = JSON.stringify({ version: catalogVersion + 1, somethingElse: true });
    const part = encodeCommand({ kind: "snapshot-part", id: "s1", at: 7, part: 0, parts: 1, text });
    assert.throws(() => new CatalogFold(7).fold({ offset: 7, value: part }), { code: "UNSUPPORTED_FORMAT" });
  });
});

const empty = Buffer.alloc(0);

class LogWorld {
  readonly records: CatalogRecord[] = [];
  readonly fold = new CatalogFold(0);

  add(change: CatalogChange): number {
    const value = encodeCommand({ id: `c${this.records.length}`, ...change });
    this.append(value);
    return value.length;
  }

  append(...values: readonly Buffer[]): void {
    for (const value of values) {
      const record = { offset: this.records.length, value };
      this.records.push(record);
      this.fold.fold(record);
    }
  }
}

/** A log of commands and snapshots, some of which were cut short or came too late. */
function randomLog(random: SeededRandom) {
  const world = new LogWorld();
  world.add({ kind: "form-cluster", version: 1, clusterId, nodes: [node("n1"), node("n2"), node("n3")] });
  // Large enough for several pieces.
  world.add({
    kind: "set-policy",
    policy: "p".repeat(catalogSnapshotPartMaxChars + random.integer(catalogSnapshotPartMaxChars)),
  });
  const snapshots: number[] = [];
  for (let count = 0; count < 120; count += 1) {
    if (!random.chance(0.07)) {
      const command = randomCommand(random, world.fold.state, world.records.length);
      world.append(command.kind === "set-policy" ? Buffer.from("{}") : encodeCommand(command));
      continue;
    }
    const parts = world.fold.takeSnapshot(`s${count}`);
    const at = world.records.length;
    const how = random.integer(4);
    if (how === 0) world.append(...parts.slice(0, random.integer(parts.length)));
    else if (how === 1)
      world.append(encodeCommand({ kind: "drain-node", id: `d${count}`, name: "n1", isDraining: false }), ...parts);
    else {
      world.append(...parts);
      snapshots.push(at);
    }
  }
  return { records: world.records, snapshots, fold: world.fold };
}

function foldFrom(records: readonly CatalogRecord[], logStartOffset: number): CatalogFold {
  const fold = new CatalogFold(logStartOffset);
  for (const record of records) fold.fold(record);
  return fold;
}

function node(name: string) {
  return { name, storageId: (name.at(-1) ?? "0").repeat(32), address: `${name}:8000`, version: 1 };
}
