import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  rmSync,
  statfsSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { systemErrorCode } from "../../src/base/disk.ts";
import { reasonAgainst, runTool } from "./tool.ts";

/**
 * A file system of its own for a node: ext4 in a file. It is made full by a file of ballast, and it is cut off by the call that file systems
 * have for tests of this kind: from then on every read and write fails with EIO, what the page cache holds and the journal hasn't never gets
 * to the disk, and mounting it again finds what a power cut would have left.
 */
export class HostDisk implements Disposable {
  readonly image: string;
  readonly mountPoint: string;
  #isMounted = false;

  private constructor(image: string, mountPoint: string) {
    this.image = image;
    this.mountPoint = mountPoint;
  }

  static make(image: string, mountPoint: string): HostDisk {
    const disk = new HostDisk(image, mountPoint);
    writeFileSync(image, "");
    truncateSync(image, imageBytes);
    runTool("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1", image);
    mkdirSync(mountPoint);
    disk.#mount();
    return disk;
  }

  #mount(): void {
    runTool("mount", "-o", "loop", this.image, this.mountPoint);
    this.#isMounted = true;
  }

  /** So much and no more is left. */
  fill(leftBytes: number): void {
    const { bavail, bsize } = statfsSync(this.mountPoint);
    // At once, without a write, but for what the last blocks cost in the file system's own books.
    const mostBytes = Math.max(bsize, bavail * bsize - reserveBytes);
    runTool("fallocate", "-l", String(mostBytes), join(this.mountPoint, ballasts[0]));
    const rest = openSync(join(this.mountPoint, ballasts[1]), "w");
    try {
      const restBytes = writeUntilFull(rest);
      ftruncateSync(rest, Math.max(0, restBytes - leftBytes));
    } finally {
      closeSync(rest);
    }
  }

  free(): void {
    for (const name of ballasts) rmSync(join(this.mountPoint, name), { force: true });
  }

  /** From now on it fails, and keeps nothing that wasn't synced. Whoever uses it sees EIO. */
  cutOff(): void {
    cutOffFileSystem(this.mountPoint);
  }

  /** As after a cut: what the disk really has. Nobody may use it. */
  mountAgain(): void {
    this[Symbol.dispose]();
    this.#mount();
  }

  [Symbol.dispose](): void {
    if (!this.#isMounted) return;
    runTool("umount", this.mountPoint);
    this.#isMounted = false;
  }
}

/** Why no disk can be cut off here; undefined where they can. */
export function cutOffLack(disk: HostDisk): string | undefined {
  return reasonAgainst(() => {
    disk.cutOff();
    disk.mountAgain();
  });
}

/** A file that takes no room before it is written to. */
const imageBytes = 2 * 1024 ** 3;

const ballasts = ["ballast", "ballast-rest"] as const;

/** Left to the second file, which is written until there is no more. */
const reserveBytes = 4 * 1024 ** 2;

function writeUntilFull(fd: number): number {
  const zeros = Buffer.alloc(4_096);
  for (let written = 0; ; ) {
    try {
      written += writeSync(fd, zeros);
    } catch (error) {
      if (systemErrorCode(error) === "ENOSPC") return written;
      throw error;
    }
  }
}

/** EXT4_IOC_SHUTDOWN, the same number for XFS and others, with "don't flush the journal". */
const shutdownRequest = 0x8004_587d;
const noLogFlush = 2;

function cutOffFileSystem(directory: string): void {
  const koffi = createRequire(import.meta.url)("koffi") as Koffi;
  const ioctl = koffi.load(null).func("int ioctl(int, unsigned long, void *)");
  const fd = openSync(directory, "r");
  try {
    const flags = Buffer.alloc(4);
    flags.writeUInt32LE(noLogFlush);
    if (ioctl(fd, shutdownRequest, flags) !== 0)
      throw new Error(`Cannot cut off ${directory}: ioctl fails with ${koffi.errno()}`);
  } finally {
    closeSync(fd);
  }
}

/** As much of it as is used: its types can't be imported where it isn't installed. */
interface Koffi {
  load(path: null): { func(prototype: string): (...parameters: readonly unknown[]) => unknown };
  errno(): number;
}
