import { describeOffsets } from "./figures.ts";

/** Offsets `[baseOffset, baseOffset + count)` of a partition. */
export interface AppendedRange {
  readonly partition: number;
  readonly baseOffset: number;
  readonly count: number;
  /** False where the server acknowledges before it syncs. */
  readonly isDurable: boolean;
}

/** Where the records of one run have come to lie, told in a few words whatever their number. */
export class AppendedOffsets {
  readonly #partitions = new Map<number, { firstOffset: number; nextOffset: number; isDense: boolean }>();

  #isDurable = true;

  /** False when one was acknowledged before it was synced. */
  get isDurable(): boolean {
    return this.#isDurable;
  }

  add({ partition, baseOffset, count, isDurable }: AppendedRange): void {
    this.#isDurable &&= isDurable;
    const known = this.#partitions.get(partition);
    if (known === undefined) {
      this.#partitions.set(partition, { firstOffset: baseOffset, nextOffset: baseOffset + count, isDense: true });
      return;
    }
    known.isDense &&= baseOffset === known.nextOffset;
    known.nextOffset = baseOffset + count;
  }

  /**
   * ", offsets 0-999" or ", offset 7"; ", offsets 0-1999 with others between" when other producers' lie among them; with
   * several partitions each is named. Empty when there are none.
   */
  describe(): string {
    const partitions = [...this.#partitions].sort(([left], [right]) => left - right);
    return partitions
      .map(([partition, range]) => {
        const where = partitions.length > 1 || partition !== 0 ? `partition ${partition} ` : "";
        return `, ${where}${describeOffsets(range)}${range.isDense ? "" : " with others between"}`;
      })
      .join("");
  }
}
