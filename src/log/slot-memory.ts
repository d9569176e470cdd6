import type { DiskFile } from "../base/disk.ts";
import { indexMapStepMaxBytes, indexMapStepMinBytes } from "../base/limits.ts";
import type { MappedRegion, Mmap } from "../base/mmap.ts";
import { KiB } from "../base/units.ts";

/**
 * Where the slots of an index lie that is being written: mapped into memory, or on the heap and written to the file from time
 * to time. The file's bytes are the same.
 */
export interface SlotMemory {
  /** At least as many bytes as were reserved last; what isn't written is zero. Asked for anew after each `reserve`. */
  readonly bytes: Buffer;
  /** Makes room for `byteLength` bytes in all. Throws as Node does when the disk is full. */
  reserve(byteLength: number): void;
  /** The first `byteLength` bytes are in the file, and nothing is mapped any more; nothing may be written here after it. */
  finish(byteLength: number): void;
  /** Lets go without writing. */
  discard(): void;
}

/** Slots in memory; a flush of whole new bytes at the end. An index is a hint, so nothing is lost with them. */
export class HeapSlots implements SlotMemory {
  readonly #file: DiskFile;
  #bytes: Buffer;

  constructor(file: DiskFile, initial: Buffer = Buffer.alloc(0)) {
    this.#file = file;
    this.#bytes = initial;
  }

  get bytes(): Buffer {
    return this.#bytes;
  }

  reserve(byteLength: number): void {
    if (byteLength <= this.#bytes.length) return;
    const grown = Buffer.alloc(Math.max(byteLength, 2 * this.#bytes.length, 4 * KiB));
    this.#bytes.copy(grown);
    this.#bytes = grown;
  }

  finish(byteLength: number): void {
    this.#file.writeSync([this.#bytes.subarray(0, byteLength)], 0);
  }

  discard(): void {
    this.#bytes = Buffer.alloc(0);
  }
}

/**
 * Slots in a mapping of the file. Only blocks that were written are mapped (a hole on a full disk would end the process, a
 * failed write is an error), so room is made by writing zeros and mapping anew.
 */
export class MappedSlots implements SlotMemory {
  readonly #file: DiskFile;
  readonly #mmap: Mmap;
  #region: MappedRegion | undefined;

  constructor(file: DiskFile, mmap: Mmap, initial: Buffer = Buffer.alloc(0)) {
    this.#file = file;
    this.#mmap = mmap;
    this.#file.truncate(0);
    if (initial.length > 0) {
      this.reserve(initial.length);
      initial.copy(this.bytes);
    }
  }

  get bytes(): Buffer {
    return this.#region?.bytes ?? nothing;
  }

  reserve(byteLength: number): void {
    const mappedBytes = this.bytes.length;
    if (byteLength <= mappedBytes) return;
    const step = Math.min(Math.max(mappedBytes, indexMapStepMinBytes), indexMapStepMaxBytes);
    const grownBytes = Math.ceil(byteLength / step) * step;
    this.#file.writeSync([Buffer.alloc(grownBytes - mappedBytes)], mappedBytes);
    // Mapped anew before the old mapping goes: when the system refuses, all stays as it was.
    const grown = this.#mmap.map(this.#file.fd, grownBytes);
    this.#region?.unmap();
    this.#region = grown;
  }

  finish(_byteLength: number): void {
    this.discard();
  }

  discard(): void {
    this.#region?.unmap();
    this.#region = undefined;
  }
}

const nothing = Buffer.alloc(0);
