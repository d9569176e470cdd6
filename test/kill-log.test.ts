import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { createSeededRandom } from "../sim/random.ts";
import { type Log, openLog, type StoredRecord } from "../src/log/index.ts";
import { planRepair } from "../src/log/repair.ts";
import { verifyLog } from "../src/log/inspect.ts";

/**
 * kill -9 on real processes and a real file system, again and again over one directory. It shows what the simulated disk can't:
 * that Node, the kernel and the lock behave as the engine believes.
 */
const rounds = process.env["PROVE"] === undefined ? 12 : 1_000;

interface Acknowledged {
  /** Names by offset. */
  readonly names: Map<number, string>;
  logStartOffset: number;
}

async function runAndKill(
  directory: string,
  seed: number,
  ackCount: number,
  known: Acknowledged,
  sync = "always",
): Promise<void> {
  const script = join(import.meta.dirname, "kill-writer.ts");
  const child = spawn(process.execPath, [script, directory, String(seed), sync], { stdio: ["ignore", "pipe", "pipe"] });
  let stderr = "";
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const closed = once(child, "close");
  let acks = 0;
  // Lines that were in the pipe when it died count as well: each was said after its record was acknowledged.
  for await (const line of createInterface({ input: child.stdout })) {
    const [word, first, second = ""] = line.split(" ");
    const offset = Number(first);
    if (word === "open") checkOpened(offset, Number(second), known);
    if (word === "trim") known.logStartOffset = offset;
    if (word !== "ack") continue;
    assert.equal(known.names.get(offset), undefined, `offset ${offset} was given out twice`);
    known.names.set(offset, second);
    acks += 1;
    if (acks === ackCount) child.kill("SIGKILL");
  }
  const [, signal] = await closed;
  assert.equal(signal, "SIGKILL", `the writer ended by itself: ${stderr}`);
}

function checkOpened(logStartOffset: number, logEndOffset: number, known: Acknowledged): void {
  const highest = Math.max(-1, ...known.names.keys());
  assert.ok(logEndOffset > highest, `the log ends at ${logEndOffset}, and ${highest} was acknowledged`);
  // A trim that was under way when the process died may have happened without being said.
  assert.ok(logStartOffset >= known.logStartOffset, `the log starts at ${logStartOffset}, trimmed to ${known.logStartOffset}`);
  known.logStartOffset = logStartOffset;
}

async function checkContent(directory: string, known: Acknowledged): Promise<void> {
  await using log = await openLog(directory);
  checkOpened(log.logStartOffset, log.logEndOffset, known);
  let next = log.logStartOffset;
  const seen = new Set<string>();
  for await (const record of log.records()) {
    assert.equal(record.offset, next);
    next += 1;
    const name = checkWhole(record);
    assert.ok(!seen.has(name), `${name} is there twice`);
    seen.add(name);
    const acknowledged = known.names.get(record.offset);
    if (acknowledged !== undefined) assert.equal(name, acknowledged);
    // What was there without its acknowledgement having been heard stays where it is from now on.
    known.names.set(record.offset, name);
  }
  assert.equal(next, log.logEndOffset);
  await checkRetries(log, seen);
  assert.equal((await log.scrub()).damages.length, 0);
}

/** Whoever sends its newest record again, which it may not have been told of, hears where that is. */
async function checkRetries(log: Log, names: Iterable<string>): Promise<void> {
  const newest = new Map<number, { name: string; offset: number }>();
  let offset = log.logStartOffset;
  for (const name of names) {
    newest.set(Number(name.split("-")[1]), { name, offset });
    offset += 1;
  }
  for (const [id, last] of newest) {
    const [epoch = 0, , baseSequence = 0] = last.name.split("-").map(Number);
    const { baseOffset, isDuplicate } = await log.append({ value: "again" }, { producer: { id, epoch, baseSequence } });
    assert.deepEqual([baseOffset, isDuplicate], [last.offset, true], `a retry of ${last.name}`);
  }
  assert.equal(log.logEndOffset, offset);
}

function checkWhole({ key, value, offset }: StoredRecord): string {
  const name = key?.toString() ?? "";
  const text = value?.toString() ?? "";
  const length = Number(text.split(":")[1]);
  assert.equal(text, `${name}:${length}:`.padEnd(length, name), `offset ${offset} isn't whole`);
  return name;
}

for (const sync of ["always", "never"]) {
  test(`a writer killed ${rounds} times over loses nothing that it acknowledged (sync ${sync})`, {
    timeout: rounds * 10_000,
  }, async () => {
    const directory = mkdtempSync(join(tmpdir(), "proglog-kill-"));
    try {
      const random = createSeededRandom(7);
      const known: Acknowledged = { names: new Map(), logStartOffset: 0 };
      for (let round = 0; round < rounds; round += 1) {
        await runAndKill(directory, round, 1 + random.integer(400), known, sync);
        // Now and then it is looked at as it lies, and opened in order; otherwise the next writer meets it as the kill left it.
        if (round % 3 === 1) assert.ok((await verifyLog(directory)).ok);
        if (round % 3 === 2) await checkContent(directory, known);
        if (round % 3 === 0) assert.deepEqual((await planRepair(directory)).losses, []);
      }
      await checkContent(directory, known);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
}
