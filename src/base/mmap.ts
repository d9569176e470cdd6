import { createRequire } from "node:module";
import { assert } from "./assert.ts";
import { ProglogError } from "./error.ts";

/**
 * Files mapped into memory: a lookup in an index file is then a load instead of a system call. Node has no mmap of its own;
 * it comes from libc by way of `koffi`, an optional dependency, and without it there is simply none.
 *
 * A mapping is the sharpest tool in the house: a touch beyond the end of the file, or of a hole on a full disk, is a SIGBUS,
 * and one after munmap a SIGSEGV, and both end the process. Hence the rules, of which this file can keep only the third:
 *
 * 1. Map only what has been written, in full, on a file system for which `Disk.canMap` holds.
 * 2. Never shrink a file that is mapped: unmap, then truncate.
 * 3. `unmap` detaches the buffer before it unmaps, so that a late access is a TypeError or finds no bytes, and is called by the
 *    owner: the garbage collector unmaps nothing.
 *
 * There is no msync here: fdatasync of the file's descriptor makes durable what was stored through the mapping, too, and does
 * so off the event loop.
 */
export interface Mmap {
  /**
   * Maps the first `length` bytes of an open file, shared, to read and write. The caller promises that the file is open for
   * writing and that all these bytes have been written; the descriptor may be closed while the mapping lives.
   * Throws DISK_FAILED when the system refuses.
   */
  map(fd: number, length: number): MappedRegion;
}

export interface MappedRegion {
  /** The file's bytes themselves: a store here is seen by every read of the file. Of length 0 once unmapped. */
  readonly bytes: Buffer;
  /** Ends the mapping. Doing so twice is fine. */
  unmap(): void;
}

/** What maps files here, or undefined: not Linux, or koffi isn't installed or doesn't load. */
export function loadMmap(): Mmap | undefined {
  loaded ??= { mmap: process.platform === "linux" ? load() : undefined };
  return loaded.mmap;
}

let loaded: { readonly mmap: Mmap | undefined } | undefined;

/** As much of koffi as is used: its own types can't be imported where it isn't installed. A pointer is whatever it hands out. */
interface Koffi {
  load(path: null): { func(prototype: string): (...parameters: readonly unknown[]) => unknown };
  address(pointer: unknown): bigint;
  view(pointer: unknown, length: number): ArrayBuffer;
  errno(): number;
}

// The numbers of Linux on every architecture that Node runs on.
const protectionReadWrite = 0x1 | 0x2;
const mapShared = 0x1;
const mapFailed = 2n ** 64n - 1n;

function load(): Mmap | undefined {
  let koffi: Koffi;
  let mmap: (...parameters: readonly unknown[]) => unknown;
  let munmap: (...parameters: readonly unknown[]) => unknown;
  try {
    koffi = createRequire(import.meta.url)("koffi") as Koffi;
    const libc = koffi.load(null);
    mmap = libc.func("void *mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset)");
    munmap = libc.func("int munmap(void *address, size_t length)");
  } catch {
    // Not installed, or not for this platform or libc. The index is kept on the heap then: slower, and nothing else.
    return undefined;
  }
  return {
    map(fd, length) {
      assert(Number.isSafeInteger(length) && length > 0, "a mapping has a length");
      const pointer = mmap(null, length, protectionReadWrite, mapShared, fd, 0);
      if (BigInt.asUintN(64, koffi.address(pointer)) === mapFailed) {
        throw new ProglogError("DISK_FAILED", `Cannot map ${length} bytes of a file into memory: errno ${koffi.errno()}`, {
          details: { errno: koffi.errno() },
        });
      }
      const memory = koffi.view(pointer, length);
      const bytes = Buffer.from(memory);
      let isMapped = true;
      return {
        bytes,
        unmap() {
          if (!isMapped) return;
          isMapped = false;
          memory.transfer(0);
          const status = munmap(pointer, length);
          assert(status === 0, "what was mapped can be unmapped");
        },
      };
    },
  };
}
