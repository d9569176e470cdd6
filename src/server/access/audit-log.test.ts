import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../../sim/clock.ts";
import type { Disk } from "../../base/disk.ts";
import { silentLogger } from "../../base/logger.ts";
import { createMemoryDisk } from "../../base/memory-disk.ts";
import {
  auditDenialsMaxCount,
  auditDenialsMs,
  auditFilesMaxCount,
  auditSourcesMaxCount,
  auditWaitingMaxCount,
} from "../../base/security-limits.ts";
import { collectingLogger, type LoggedLine } from "../../../test/test-node.ts";
import { type AuditEntry, AuditLog } from "./audit-log.ts";

const who = { principal: "alice", kind: "token", address: "10.0.0.1" };
const denial: AuditEntry = { event: "denied", ...who, action: "produce", resource: "orders", outcome: "PERMISSION_DENIED" };
const change: AuditEntry = { event: "changed", ...who, action: "admin", resource: "*", outcome: "ok", change: "+ a rule" };

describe("the audit log", () => {
  test("has a line for each denial and change, behind what was there before", async () => {
    const world = await World.open();
    world.log.denied(denial);
    world.log.changed(change);
    await world.log.close();
    const again = new AuditLog(world.options);
    again.changed({ ...change, outcome: "TIMEOUT" });
    await again.close();
    assert.deepEqual(world.lines(), [
      { time: "2026-01-01T00:00:00.000Z", ...denial },
      { time: "2026-01-01T00:00:00.000Z", ...change },
      { time: "2026-01-01T00:00:00.000Z", ...change, outcome: "TIMEOUT" },
    ]);
  });

  test("writes some denials of one source a minute and counts the rest; of others, and changes, all", async () => {
    const world = await World.open();
    for (let count = 0; count < auditDenialsMaxCount + 7; count += 1) world.log.denied(denial);
    world.log.denied({ ...denial, address: "10.0.0.2" });
    for (let count = 0; count < 30; count += 1) world.log.changed(change);
    world.clock.advance(auditDenialsMs);
    world.log.denied(denial);
    await world.log.close();
    const lines = world.lines();
    assert.equal(
      lines.filter(({ address, event }) => event === "denied" && address === "10.0.0.1").length,
      auditDenialsMaxCount + 1,
    );
    assert.equal(lines.filter(({ address }) => address === "10.0.0.2").length, 1);
    assert.equal(lines.filter(({ event }) => event === "changed").length, 30);
    assert.deepEqual(
      lines.map(({ leftOut }) => leftOut).filter((count) => count !== undefined),
      [7],
    );
  });

  test("tells as many sources apart as may be, and begins anew with those that were refused first", async () => {
    const world = await World.open();
    for (let times = 0; times < auditDenialsMaxCount + 1; times += 1) world.log.denied({ ...denial, address: "first" });
    for (let source = 0; source < auditSourcesMaxCount - 1; source += 1) world.log.denied({ ...denial, address: `a${source}` });
    world.log.denied({ ...denial, address: "first" });
    world.log.denied({ ...denial, address: "one more" });
    world.log.denied({ ...denial, address: "first" });
    await world.log.close();
    const lines = world.lines().filter(({ address }) => address === "first");
    assert.equal(lines.length, auditDenialsMaxCount + 1);
  });

  test("begins a new file when one is full, and keeps some of the old ones", async () => {
    const world = await World.open({ fileMaxBytes: 300 });
    for (let count = 0; count < 40; count += 1) {
      world.log.changed({ ...change, change: `number ${count}` });
      await settle();
    }
    await world.log.close();
    const names = world.disk.list("/data");
    assert.deepEqual(names, ["audit.log", ...Array.from({ length: auditFilesMaxCount }, (_, at) => `audit.log.${at + 1}`)]);
    for (const name of names) assert.ok((world.disk.size(`/data/${name}`) ?? 0) <= 300, name);
    assert.match(world.text("audit.log"), /number 39/);
    const oldest = world.text(`audit.log.${auditFilesMaxCount}`);
    assert.doesNotMatch(oldest, /number 39|number 0"/);
  });

  test("stops nothing when the disk takes no more; what it lost is counted in the next line", async () => {
    const logged: LoggedLine[] = [];
    const disk = createMemoryDisk();
    let isFull = true;
    const open = disk.open.bind(disk);
    disk.open = (path, mode) => {
      if (isFull) throw new Error("no space left");
      return open(path, mode);
    };
    const world = await World.open({ disk, logger: collectingLogger(logged) });
    for (let count = 0; count < 3; count += 1) {
      world.log.changed(change);
      await settle();
    }
    assert.deepEqual(
      logged.map(({ level, message }) => `${level} ${message}`),
      ["error the audit log can't be written"],
    );
    isFull = false;
    world.log.changed(change);
    world.log.changed(change);
    await world.log.close();
    assert.deepEqual(
      world.lines().map(({ lost }) => lost),
      [3, undefined],
    );
  });

  test("holds as many lines as may wait, and counts the rest", async () => {
    const world = await World.open();
    for (let count = 0; count < auditWaitingMaxCount + 3; count += 1) world.log.changed(change);
    await settle();
    world.log.changed(change);
    await world.log.close();
    const lines = world.lines();
    assert.equal(lines.length, auditWaitingMaxCount + 1);
    assert.equal(lines.at(-1)?.["lost"], 3);
  });

  test("takes nothing when it is closed", async () => {
    const world = await World.open();
    await world.log.close();
    world.log.changed(change);
    await world.log.close();
    assert.deepEqual(world.disk.list("/data"), []);
  });
});

class World {
  readonly clock = createVirtualClock();
  readonly disk: Disk;
  readonly options: ConstructorParameters<typeof AuditLog>[0];
  readonly log: AuditLog;

  private constructor(options: Partial<ConstructorParameters<typeof AuditLog>[0]>) {
    this.disk = options.disk ?? createMemoryDisk();
    this.options = { disk: this.disk, directory: "/data", clock: this.clock, logger: silentLogger, ...options };
    this.log = new AuditLog(this.options);
  }

  static async open(options: Partial<ConstructorParameters<typeof AuditLog>[0]> = {}): Promise<World> {
    const world = new World(options);
    await world.disk.makeDirectory("/data");
    return world;
  }

  text(name: string): string {
    const file = this.disk.open(`/data/${name}`, "read");
    const bytes = Buffer.alloc(file.size());
    file.readSync(bytes, 0);
    file.close();
    return bytes.toString();
  }

  lines(): readonly Readonly<Record<string, unknown>>[] {
    const lines = this.text("audit.log").split("\n");
    assert.equal(lines.pop(), "");
    return lines.map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
  }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => void setImmediate(resolve));
}
