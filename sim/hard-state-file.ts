import { join } from "node:path";
import { crc32c } from "../src/batch/crc32c.ts";
import { readUint64LE, writeUint64LE } from "../src/base/bytes.ts";
import type { Disk, DiskFile } from "../src/base/disk.ts";
import type { SavedHardState } from "../src/replica/group/hard-state-slot.ts";

/**
 * Term and vote of one replica on its disk: two slots a page apart, written in turn, so that a write that is torn leaves the one
 * before. It stands in for the one hard-state log a node will have for all its groups.
 *
 *     0       4      8            16           24       26        …
 *     ┌───────┬──────┬────────────┬────────────┬────────┬─────────┬────────────┐
 *     │ magic │ crc  │ generation │ term       │ length │ node id │ storage id │   each name: u8 length, bytes; none without a vote
 *     └───────┴──────┴────────────┴────────────┴────────┴─────────┴────────────┘
 */
export class HardStateFile {
  readonly #file: DiskFile;
  readonly #seed: number;
  #generation: number;

  private constructor(file: DiskFile, seed: number, generation: number) {
    this.#file = file;
    this.#seed = seed;
    this.#generation = generation;
  }

  /**
   * Opens the file, or makes it. What was read is written and synced again: after a process was killed, or a sync failed, it may be in
   * memory alone. Returns undefined as `saved` of a new one; throws where neither slot is sound.
   */
  static async open(
    disk: Disk,
    directory: string,
    seed: number,
  ): Promise<{ readonly file: HardStateFile; readonly saved: SavedHardState | undefined }> {
    const path = join(directory, hardStateName);
    const size = disk.size(path);
    const isNew = size === undefined;
    const file = disk.open(path, isNew ? "create" : "write");
    try {
      const slots = slotPositions.map((position) => {
        const bytes = Buffer.alloc(slotBytes);
        return isNew || file.readSync(bytes, position) < slotBytes ? undefined : decode(bytes, seed);
      });
      const newest = slots.reduce(
        (a, b) => (b !== undefined && (a === undefined || b.generation > a.generation) ? b : a),
        undefined,
      );
      // The file is synced with both slots before anything is said by it, so one without a sound slot is a creation cut short, or rot.
      if (newest === undefined && !isNew && size >= fileBytes) {
        const bytes = Buffer.alloc(fileBytes);
        file.readSync(bytes, 0);
        if (bytes.some((byte) => byte !== 0)) throw new Error("the hard state is unreadable");
      }
      const opened = new HardStateFile(file, seed, newest?.generation ?? 0);
      if (isNew) file.writeSync([Buffer.alloc(fileBytes)], 0);
      const state = newest ?? { term: 0, vote: undefined };
      await opened.write(state);
      await opened.write(state);
      if (isNew) await disk.syncDirectory(directory);
      return { file: opened, saved: newest };
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** Durable when it resolves. */
  async write(state: SavedHardState): Promise<void> {
    this.#generation += 1;
    const position = slotPositions[this.#generation % 2] ?? 0;
    this.#file.writeSync([encode(state, this.#generation, this.#seed)], position);
    await this.#file.datasync();
  }

  close(): void {
    this.#file.close();
  }
}

export const hardStateName = "hard-state";

const magic = 0x53_48_4c_50;
const slotBytes = 512;
const slotPositions = [0, 4096] as const;
const fileBytes = 8192;

function encode({ term, vote }: SavedHardState, generation: number, seed: number): Buffer {
  const slot = Buffer.alloc(slotBytes);
  slot.writeUInt32LE(magic, 0);
  writeUint64LE(slot, generation, 8);
  writeUint64LE(slot, term, 16);
  const names = vote === undefined ? [] : [vote.nodeId, vote.storageId];
  let at = 26;
  for (const name of names) {
    slot.writeUInt8(Buffer.byteLength(name), at);
    at += 1 + slot.write(name, at + 1);
  }
  slot.writeUInt16LE(at, 24);
  slot.writeUInt32LE(crc32c(slot, 8, slotBytes, seed), 4);
  return slot;
}

function decode(slot: Buffer, seed: number): (SavedHardState & { readonly generation: number }) | undefined {
  if (slot.readUInt32LE(0) !== magic || crc32c(slot, 8, slotBytes, seed) !== slot.readUInt32LE(4)) return undefined;
  const names: string[] = [];
  for (let at = 26; at < slot.readUInt16LE(24); ) {
    const end = at + 1 + slot.readUInt8(at);
    names.push(slot.toString("utf8", at + 1, end));
    at = end;
  }
  const [nodeId, storageId] = names;
  const vote = nodeId === undefined || storageId === undefined ? undefined : { nodeId, storageId };
  return { generation: readUint64LE(slot, 8), term: readUint64LE(slot, 16), vote };
}
