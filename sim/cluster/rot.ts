import { findDataEnd } from "../../src/log/active-store.ts";
import { segmentHeaderBytes } from "../../src/log/segment-header.ts";
import { storeSuffix } from "../../src/log/segment-name.ts";
import type { SeededRandom } from "../random.ts";
import { sectorBytes } from "../sector-file.ts";
import { dataPath, type Machine } from "./machine.ts";

/** Whose disk it is. */
type Holder = Pick<Machine, "name" | "disk" | "diskNumber">;

/**
 * Bytes at rest that aren't what was written any more. Each spot is known until something else lies there: the same entries from other
 * members, as repair writes them, or nothing, since the segment was trimmed, or the replica or the disk has gone.
 */
export class Rot {
  #spots: readonly Spot[] = [];
  struckCount = 0;
  mendedCount = 0;

  /** What rots and hasn't been mended. */
  get spots(): readonly Spot[] {
    return this.#spots;
  }

  /**
   * Damages a sealed segment of one of these replicas of a machine, where a bad byte can't be the tear of a write that was never acknowledged: one
   * behind which another segment has entries. Undefined when there is none.
   */
  strike(machine: Holder, groups: readonly string[], random: SeededRandom): Spot | undefined {
    const { disk, diskNumber } = machine;
    const sealed = groups.flatMap((group) => sealedStoresOf(machine, `${dataPath}/logs/${group}`));
    if (sealed.length === 0) return undefined;
    const path = random.pick(sealed);
    const end = dataEndOf(machine, path);
    if (end <= segmentHeaderBytes) return undefined;
    const before = disk.contentOf(path);
    const hit = segmentHeaderBytes + random.integer(end - segmentHeaderBytes);
    if (random.chance(0.7)) disk.flipBit(path, hit, random.integer(8));
    else disk.zeroSector(path, Math.floor(hit / sectorBytes));
    const after = disk.contentOf(path);
    const position = after.findIndex((byte, at) => byte !== before[at]);
    if (position < 0) return undefined;
    const spot: Spot = { machine, diskNumber, path, position, bytes: after.subarray(position, position + sectorBytes) };
    this.#spots = [...this.#spots, spot];
    this.struckCount += 1;
    return spot;
  }

  /** Forgets what has been mended. */
  look(): void {
    const left = this.#spots.filter(isThere);
    this.mendedCount += this.#spots.length - left.length;
    this.#spots = left;
  }
}

/** Bad bytes, and what lies behind them, as they were when they went bad. */
export interface Spot {
  readonly machine: Holder;
  readonly diskNumber: number;
  readonly path: string;
  readonly position: number;
  readonly bytes: Buffer;
}

function isThere({ machine, diskNumber, path, position, bytes }: Spot): boolean {
  if (machine.diskNumber !== diskNumber) return false;
  const { disk } = machine;
  if (disk.size(path) === undefined) return false;
  return disk
    .contentOf(path)
    .subarray(position, position + bytes.length)
    .equals(bytes);
}

function sealedStoresOf(machine: Holder, directory: string): readonly string[] {
  const { disk } = machine;
  if (!disk.isDirectory(directory)) return [];
  const paths = disk.list(directory).flatMap((name) => (name.endsWith(storeSuffix) ? [`${directory}/${name}`] : []));
  const active = paths.pop();
  return active !== undefined && dataEndOf(machine, active) > segmentHeaderBytes ? paths : [];
}

function dataEndOf({ disk }: Holder, path: string): number {
  const file = disk.open(path, "read");
  try {
    return findDataEnd(file, 0);
  } finally {
    file.close();
  }
}
