import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { Disk } from "../src/base/disk.ts";
import { nodeDisk } from "../src/base/node-disk.ts";
import { entryFlags, logSeed } from "../src/log/frame.ts";
import { FrameScanner } from "../src/log/frame-scanner.ts";
import { listBaseIndexes } from "../src/log/segment-files.ts";
import { readSegmentHeader, segmentHeaderBytes } from "../src/log/segment-header.ts";
import { segmentPath, storeSuffix } from "../src/log/segment-name.ts";

/** What a node that doesn't run holds of a group, read from its store files and from nothing else. */
export interface ReplicaFiles {
  readonly node: string;
  readonly directory: string;
  readonly entries: ReadonlyMap<number, FiledEntry>;
}

export interface FiledEntry {
  readonly index: number;
  readonly term: number;
  readonly kind: string;
  readonly span: number;
  readonly baseOffset: number;
  readonly appendTime: number;
  /** Whether it begins a segment: roll points are the leader's, too. Whether it was compacted is each replica's own affair. */
  readonly flags: number;
  /** Of the payload; "" where it was compacted. */
  readonly sum: string;
}

/** Nodes that all have stopped, with the directories of their data. */
export interface StoppedNode {
  readonly name: string;
  readonly directory: string;
  readonly disk?: Disk;
}

/**
 * Every entry that two nodes have of a group is the same one: index, term, kind, offsets, and its bytes where neither compacted them. All
 * have as much, but for control entries that the last to lead wrote when the others had gone. Returns how many groups and entries there are.
 */
export async function checkSameFiles(
  nodes: readonly StoppedNode[],
): Promise<{ readonly groups: number; readonly entries: number }> {
  const groups = new Map<string, ReplicaFiles[]>();
  for (const node of nodes)
    for (const [group, files] of await readNodeFiles(node)) groups.set(group, [...(groups.get(group) ?? []), files]);
  let entries = 0;
  for (const [group, replicas] of groups) {
    const [longest] = replicas.toSorted((a, b) => lastOf(b) - lastOf(a));
    if (longest === undefined) continue;
    entries += longest.entries.size;
    for (const replica of replicas) checkReplica(group, replica, longest);
  }
  return { groups: groups.size, entries };
}

function checkReplica(group: string, replica: ReplicaFiles, longest: ReplicaFiles): void {
  const last = lastOf(replica);
  const [first = 0] = replica.entries.keys();
  const places = `group ${group} at ${replica.directory} and ${longest.directory}`;
  for (const [index, entry] of longest.entries) {
    if (index < first) continue;
    if (index > last) {
      assert.equal(
        entry.span,
        0,
        `${places}: ${replica.node} ends at index ${last}, and ${longest.node} has offsets at ${index}`,
      );
      continue;
    }
    const mine = replica.entries.get(index);
    if (mine === undefined) assert.fail(`${places}: ${replica.node} has no index ${index}`);
    const isCompacted = mine.sum === "" || entry.sum === "";
    const [a, b] = isCompacted
      ? [
          { ...mine, sum: "" },
          { ...entry, sum: "" },
        ]
      : [mine, entry];
    assert.deepEqual(a, b, `${places}: index ${index}`);
  }
}

async function readNodeFiles({ name, directory, disk = nodeDisk }: StoppedNode): Promise<ReadonlyMap<string, ReplicaFiles>> {
  const logs = join(directory, "logs");
  const found = new Map<string, ReplicaFiles>();
  for (const group of disk.list(logs)) {
    // A copy that was under way, and what it replaced, are beside the log.
    if (!/^[0-9a-f-]+$/.test(group) || !disk.isDirectory(join(logs, group))) continue;
    found.set(group, { node: name, directory: join(logs, group), entries: await readLog(disk, join(logs, group)) });
  }
  return found;
}

async function readLog(disk: Disk, directory: string): Promise<ReadonlyMap<number, FiledEntry>> {
  const entries = new Map<number, FiledEntry>();
  const bases = listBaseIndexes({ disk, directory });
  for (const baseIndex of bases) {
    const path = segmentPath(directory, baseIndex, storeSuffix);
    const file = disk.open(path, "read");
    try {
      const head = Buffer.alloc(segmentHeaderBytes);
      const read = readSegmentHeader(head.subarray(0, file.readSync(head, 0)));
      if ("fault" in read) assert.fail(`${path}: ${read.fault}`);
      const scanner = new FrameScanner({
        ...{ file, position: segmentHeaderBytes, endPosition: file.size(), chain: read.before },
        seed: logSeed(read.header.logId),
      });
      while (scanner.end === undefined)
        for (const { index, term, kind, span, baseOffset, appendTime, flags, payload } of await scanner.next()) {
          const sum = (flags & entryFlags.compacted) === 0 ? createHash("sha256").update(payload).digest("hex") : "";
          entries.set(index, {
            ...{ index, term, kind, span, baseOffset, appendTime, sum },
            flags: flags & ~entryFlags.compacted,
          });
        }
      // What was torn was never acknowledged; a sealed store has no such end.
      if (baseIndex !== bases.at(-1))
        assert.ok(scanner.end.kind !== "bad", `${path} at ${scanner.position}: ${JSON.stringify(scanner.end)}`);
    } finally {
      file.close();
    }
  }
  return entries;
}

function lastOf({ entries }: ReplicaFiles): number {
  return [...entries.keys()].at(-1) ?? 0;
}
