import type { DiskFile } from "../base/disk.ts";
import { MiB } from "../base/units.ts";
import { bytesOfFrame, dataHeadBytes, entryFlags, type Frame, frameHeadBytes, writeDataHead } from "./frame.ts";
import type { IndexBuilder } from "./index-builder.ts";

/** Bytes written until they are synced: all at the end would keep the appends' syncs waiting. */
const syncEveryBytes = 8 * MiB;

/** Writes a store of frames that come from others, from its front, and gathers its indexes. */
export class StoreWriter {
  readonly builder: IndexBuilder;
  readonly #file: DiskFile;
  readonly #seed: number;
  #buffers: Buffer[] = [];
  #end = 0;
  #writtenEnd = 0;
  #syncedEnd = 0;

  constructor(file: DiskFile, builder: IndexBuilder, seed: number) {
    this.#file = file;
    this.builder = builder;
    this.#seed = seed;
  }

  /** Behind the last frame. */
  get end(): number {
    return this.#end;
  }

  /** The segment header, to the byte: nothing in it tells what the entries hold. */
  addHeader(bytes: Buffer): void {
    this.#push(bytes);
  }

  /** Adds a frame as it is. What it lies in must not change before the next `flush`. */
  add(frame: Frame): void {
    this.builder.add({ ...frame, position: this.#end });
    this.#push(bytesOfFrame(frame));
  }

  /** Adds a frame with another batch, flagged as compacted. */
  addChanged(frame: Frame, batch: Buffer): void {
    const changed: Frame = {
      ...frame,
      flags: frame.flags | entryFlags.compacted,
      position: this.#end,
      byteLength: frameHeadBytes + batch.length,
      payload: batch,
    };
    const head = Buffer.allocUnsafe(dataHeadBytes);
    writeDataHead(head, 0, changed, batch, this.#seed);
    this.builder.add(changed);
    this.#push(head);
    this.#push(batch.subarray(dataHeadBytes - frameHeadBytes));
  }

  /** Writes what was added, and returns how many bytes that was. */
  async flush(): Promise<number> {
    const writtenBytes = this.#end - this.#writtenEnd;
    await this.#file.write(this.#buffers, this.#writtenEnd);
    this.#buffers = [];
    this.#writtenEnd = this.#end;
    if (this.#end - this.#syncedEnd >= syncEveryBytes) {
      await this.#file.datasync();
      this.#syncedEnd = this.#end;
    }
    return writtenBytes;
  }

  #push(bytes: Buffer): void {
    this.#buffers.push(bytes);
    this.#end += bytes.length;
  }
}
