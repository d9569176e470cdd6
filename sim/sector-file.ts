import type { CrashChoice, CrashModel, CrashPoint } from "./crash.ts";

/** The unit that a disk writes whole. Everything about crashes is decided sector by sector. */
export const sectorBytes = 512;

/** The content of a sector, never changed in place, since images share them; undefined is a hole, which reads as zeros. */
type Sector = Uint8Array | undefined;

interface Version {
  readonly sequence: number;
  readonly sector: Sector;
}

interface SizeVersion {
  readonly sequence: number;
  readonly size: number;
}

/**
 * A file as a real disk has it: what reads see (the page cache), what has surely reached the platter, and between the two
 * the versions that each sector, and the size, went through since. After a crash each sector is any one of its versions,
 * whatever its neighbours are, and so is the size: a file may have grown without its data, or the reverse.
 *
 *                        sector 0   sector 1   sector 2       size
 *     synced             A          B          (hole)         1024    <- version 0 of each
 *     write  [512,1200)             B'         C              1200
 *     write  [600,620)              B''
 *     seen               A          B''        C              1200
 *
 * has 1 x 3 x 2 x 2 = 12 images. A sync makes the newest version that it covers version 0.
 */
export class SectorFile {
  /** Tells files apart that had the same name one after the other. */
  readonly id: number;
  /** The name it was last known by, for reports. */
  path: string;
  openCount = 0;
  isLinked = true;

  readonly #seen = new Map<number, Uint8Array>();
  #seenSize = 0;
  readonly #synced = new Map<number, Uint8Array>();
  #syncedSize = 0;
  readonly #pending = new Map<number, Version[]>();
  #pendingSizes: SizeVersion[] = [];
  /** The number of the last change; a sync covers the changes up to the one it was called after. */
  #sequence = 0;

  constructor(id: number, path: string) {
    this.id = id;
    this.path = path;
  }

  get size(): number {
    return this.#seenSize;
  }

  get sequence(): number {
    return this.#sequence;
  }

  /** Sectors that have space on the disk; holes have none. */
  get allocatedSectors(): number {
    return this.#seen.size;
  }

  get hasPending(): boolean {
    return this.#pending.size > 0 || this.#pendingSizes.length > 0;
  }

  read(target: Uint8Array, position: number): number {
    const end = Math.min(position + target.length, this.#seenSize);
    if (position >= end) return 0;
    for (const part of partsOf(position, end)) {
      const sector = this.#seen.get(part.sector);
      const start = part.start - position;
      const length = part.end - part.start;
      if (sector === undefined) target.fill(0, start, start + length);
      else target.set(sector.subarray(part.offset, part.offset + length), start);
    }
    return end - position;
  }

  /** How many of `length` bytes can be written at `position` when the disk has only so many sectors left. */
  fittingBytes(position: number, length: number, roomSectors: number): number {
    let room = roomSectors;
    for (const part of partsOf(position, position + length)) {
      if (this.#seen.has(part.sector)) continue;
      if (room === 0) return part.start - position;
      room -= 1;
    }
    return length;
  }

  /**
   * Writes `bytes`, which nobody changes afterwards. A write that is `isLost` is seen by reads, until it is crashed away or a later
   * one rewrites it: the platter never hears of it.
   */
  write(bytes: Uint8Array, position: number, isLost = false): void {
    if (bytes.length === 0) return;
    this.#sequence += 1;
    const end = position + bytes.length;
    for (const part of partsOf(position, end)) {
      const data = bytes.subarray(part.start - position, part.end - position);
      const sector = overlay(this.#seen.get(part.sector), data, part.offset);
      this.#seen.set(part.sector, sector);
      if (!isLost) this.#addVersion(part.sector, sector);
    }
    if (end > this.#seenSize) this.#setSize(end);
  }

  /** What a misdirected write does: these bytes go to the platter here, and reads, which the cache answers, don't see it. */
  writeUnseen(bytes: Uint8Array, position: number): void {
    this.#sequence += 1;
    for (const part of partsOf(position, position + bytes.length)) {
      const data = bytes.subarray(part.start - position, part.end - position);
      this.#addVersion(part.sector, overlay(this.#newest(part.sector), data, part.offset));
    }
  }

  truncate(size: number): void {
    if (size === this.#seenSize) return;
    this.#sequence += 1;
    for (const part of partsOf(size, this.#seenSize)) {
      const sector = this.#seen.get(part.sector);
      if (sector === undefined) continue;
      const cut = part.offset === 0 ? undefined : overlay(sector.subarray(0, part.offset), new Uint8Array(0), 0);
      if (cut === undefined) this.#seen.delete(part.sector);
      else this.#seen.set(part.sector, cut);
      this.#addVersion(part.sector, cut);
    }
    this.#setSize(size);
  }

  /** Makes durable what was pending when the change numbered `sequence` was the last. */
  sync(sequence: number): void {
    for (const [number, versions] of this.#pending) this.#settle(number, versions, sequence, true);
    const size = this.#pendingSizes.findLast((version) => version.sequence <= sequence);
    if (size !== undefined) this.#syncedSize = size.size;
    this.#pendingSizes = this.#pendingSizes.filter((version) => version.sequence > sequence);
  }

  /**
   * What a failed fsync leaves behind: the pages are clean and unwritten, so no later sync writes them. The first `keptSectors`
   * of them did get through. The size has its own way to the platter, by the journal, and stays pending: in the end the file
   * has its length and not its bytes.
   */
  loseSync(sequence: number, keptSectors = 0): void {
    let kept = 0;
    for (const number of [...this.#pending.keys()].sort((a, b) => a - b)) {
      const versions = this.#pending.get(number) ?? [];
      if (versions.every((version) => version.sequence > sequence)) continue;
      this.#settle(number, versions, sequence, kept < keptSectors);
      kept += 1;
    }
  }

  get pendingSectorCount(): number {
    return this.#pending.size;
  }

  /** Changes bytes at rest, on the platter and in every version on its way there, and in what reads see. */
  corrupt(position: number, bytes: Uint8Array): void {
    for (const part of partsOf(position, position + bytes.length)) {
      const data = bytes.subarray(part.start - position, part.end - position);
      const synced = this.#synced.get(part.sector);
      if (synced !== undefined) this.#synced.set(part.sector, overlay(synced, data, part.offset));
      this.#seen.set(part.sector, overlay(this.#seen.get(part.sector), data, part.offset));
      const versions = this.#pending.get(part.sector) ?? [];
      versions.forEach((version, index) => {
        versions[index] = { ...version, sector: overlay(version.sector, data, part.offset) };
      });
      // A hole at rest has no bytes to go bad: what is there afterwards was written by whoever corrupts it.
      if (synced === undefined && versions.length === 0) this.#synced.set(part.sector, overlay(undefined, data, part.offset));
    }
  }

  /** What a crash has to decide about this file; nothing where every version reads the same. */
  *crashPoints(): Generator<CrashPoint> {
    const sizes = this.#sizeOptions();
    if (sizes.length > 1) {
      yield { kind: "size", key: `size ${this.id}`, path: this.path, sizes, options: sizes.length };
    }
    for (const number of this.#pending.keys()) {
      const options = this.#sectorOptions(number).length;
      if (options > 1) yield { kind: "sector", key: `sector ${this.id} ${number}`, path: this.path, sector: number, options };
    }
  }

  /** The file after a crash, all of it on the platter. */
  image(choose: CrashChoice, model: CrashModel): SectorFile {
    const choices = new Map<string, number>();
    for (const point of this.crashPoints()) choices.set(point.key, choose(point));
    const image = new SectorFile(this.id, this.path);
    const size = this.#sizeOptions()[choices.get(`size ${this.id}`) ?? 0] ?? this.#syncedSize;
    for (const [number, sector] of this.#synced) image.#place(number, sector, size);
    for (const number of this.#pending.keys()) {
      const options = this.#sectorOptions(number);
      let choice = choices.get(`sector ${this.id} ${number}`) ?? 0;
      // The ordered model journals a size only after the new blocks below it have been written once.
      if (model === "ordered" && choice === 0 && options[0] === undefined && number * sectorBytes < size) choice = 1;
      image.#place(number, options[Math.min(choice, options.length - 1)], size);
    }
    image.#seenSize = size;
    image.#syncedSize = size;
    return image;
  }

  /** Puts a sector into an image, unless it lies beyond the end. What a sector holds beyond the end is never seen again. */
  #place(number: number, sector: Sector, size: number): void {
    const visible = Math.min(sectorBytes, size - number * sectorBytes);
    if (sector === undefined || visible <= 0) {
      this.#seen.delete(number);
      this.#synced.delete(number);
      return;
    }
    const placed = visible === sectorBytes ? sector : overlay(sector.subarray(0, visible), new Uint8Array(0), 0);
    this.#seen.set(number, placed);
    this.#synced.set(number, placed);
  }

  #setSize(size: number): void {
    this.#seenSize = size;
    this.#pendingSizes.push({ sequence: this.#sequence, size });
  }

  #addVersion(number: number, sector: Sector): void {
    const versions = this.#pending.get(number);
    if (versions === undefined) this.#pending.set(number, [{ sequence: this.#sequence, sector }]);
    else versions.push({ sequence: this.#sequence, sector });
  }

  #newest(number: number): Sector {
    const versions = this.#pending.get(number);
    return versions === undefined ? this.#synced.get(number) : versions.at(-1)?.sector;
  }

  /** Takes the versions up to `sequence` off the pending ones, and puts the last of them on the platter if it `reached` it. */
  #settle(number: number, versions: readonly Version[], sequence: number, reached: boolean): void {
    const newest = versions.findLast((version) => version.sequence <= sequence);
    if (newest === undefined) return;
    if (reached && newest.sector === undefined) this.#synced.delete(number);
    else if (reached && newest.sector !== undefined) this.#synced.set(number, newest.sector);
    const later = versions.filter((version) => version.sequence > sequence);
    if (later.length === 0) this.#pending.delete(number);
    else this.#pending.set(number, later);
  }

  /** The versions of a sector from the synced one on, without repetitions: 0 is the platter's, the last the newest. */
  #sectorOptions(number: number): Sector[] {
    const options: Sector[] = [this.#synced.get(number)];
    for (const { sector } of this.#pending.get(number) ?? []) {
      if (!isSameContent(options.at(-1), sector)) options.push(sector);
    }
    return options;
  }

  #sizeOptions(): number[] {
    const options = [this.#syncedSize];
    for (const { size } of this.#pendingSizes) if (options.at(-1) !== size) options.push(size);
    return options;
  }
}

interface Part {
  readonly sector: number;
  /** Where the part starts in its sector. */
  readonly offset: number;
  /** Where it lies in the file, end exclusive. */
  readonly start: number;
  readonly end: number;
}

/** The range [start, end) of a file, cut at the borders of sectors. */
function* partsOf(start: number, end: number): Generator<Part> {
  for (let from = start; from < end; ) {
    const sector = Math.floor(from / sectorBytes);
    const to = Math.min(end, (sector + 1) * sectorBytes);
    yield { sector, offset: from - sector * sectorBytes, start: from, end: to };
    from = to;
  }
}

function overlay(sector: Sector, data: Uint8Array, offset: number): Uint8Array {
  if (data.length === sectorBytes) return data;
  const result = new Uint8Array(sectorBytes);
  if (sector !== undefined) result.set(sector);
  result.set(data, offset);
  return result;
}

const zeros = new Uint8Array(sectorBytes);

function isSameContent(a: Sector, b: Sector): boolean {
  return a === b || Buffer.compare(a ?? zeros, b ?? zeros) === 0;
}
