import { mkdirSync, mkdtempSync, rmSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { formatNumber } from "./row.ts";

/** File systems in memory, by the magic number of statfs(2): a sync costs nothing there, so nothing would be measured. */
const memoryFileSystems: ReadonlySet<number> = new Set([
  0x01021994, // tmpfs
  0x858458f6, // ramfs
]);

/** Left free beyond what a benchmark writes: a full disk harms whoever else works on it. */
const reserveBytes = 2 * 1024 ** 3;

/** A directory on a real disk for what the benchmarks write, removed with everything in it at the end, however it comes. */
export class Scratch {
  readonly path: string;
  #count = 0;

  private constructor(path: string) {
    this.path = path;
  }

  /** Throws when `parent` lies in memory. */
  static make(parent: string): Scratch {
    if (memoryFileSystems.has(statfsSync(parent).type)) {
      throw new Error(
        `Cannot measure in ${parent}: it lies in memory, where a sync costs nothing; name a real disk with --dir`,
      );
    }
    return new Scratch(mkdtempSync(join(parent, "proglog-bench-")));
  }

  /** Throws when writing `bytes` more would leave the disk too full. */
  checkFree(bytes: number, purpose: string): void {
    const { bavail, bsize } = statfsSync(this.path);
    const freeBytes = bavail * bsize;
    if (freeBytes >= bytes + reserveBytes) return;
    throw new Error(
      `Cannot measure ${purpose}: it writes ${gigabytes(bytes)}, ${gigabytes(reserveBytes)} are to stay free, ` +
        `and ${gigabytes(freeBytes)} are; name another disk with --dir`,
    );
  }

  /** A new directory of that name and a number. */
  directory(name: string): string {
    this.#count += 1;
    const path = join(this.path, `${name}-${this.#count}`);
    mkdirSync(path);
    return path;
  }

  remove(path: string = this.path): void {
    rmSync(path, { recursive: true, force: true });
  }
}

function gigabytes(bytes: number): string {
  return `${formatNumber(bytes / 1e9)} GB`;
}
