import { assert } from "../base/assert.ts";
import { isProglogError } from "../base/error.ts";
import type { ActiveSegment } from "./active-segment.ts";
import type { SealedSegment } from "./sealed-segment.ts";

export type Segment = SealedSegment | ActiveSegment;

/** The segments of a log in order: any number of sealed ones, and the active one. Swapped whole, so a reader's view holds. */
export class Segments {
  readonly sealed: readonly SealedSegment[];
  readonly active: ActiveSegment;

  constructor(sealed: readonly SealedSegment[], active: ActiveSegment) {
    assert(sealed.length === 0 || (sealed.at(-1)?.baseIndex ?? 0) < active.baseIndex, "the active segment is the last");
    this.sealed = sealed;
    this.active = active;
  }

  get count(): number {
    return this.sealed.length + 1;
  }

  at(position: number): Segment {
    return this.sealed[position] ?? this.active;
  }

  /** The segment that holds `index`, or would: the last one that begins at or below it. */
  findByIndex(index: number): Segment {
    return this.#findLast((segment) => segment.baseIndex <= index);
  }

  /** The segment that holds `offset`, or would: the last one that begins at or below it. */
  findByOffset(offset: number): Segment {
    try {
      return this.#findLast((segment) => segment.baseOffset() <= offset);
    } catch (error) {
      if (!isProglogError(error, "LOG_CORRUPT")) throw error;
      // One whose header and index are both bad tells no offset. It is passed over, so that the others' records can be read; its
      // own are then missed where they should be.
      const known = [...this.sealed, this.active].filter((segment) => isAtOrBelow(segment, offset));
      return known.at(-1) ?? this.at(0);
    }
  }

  /** The segment behind `segment`; undefined behind the active one. */
  after(segment: Segment): Segment | undefined {
    return segment === this.active ? undefined : this.findByIndexAbove(segment.baseIndex);
  }

  /** The first segment whose base index is above `index`. */
  findByIndexAbove(index: number): Segment | undefined {
    const position = this.#countWhile((segment) => segment.baseIndex <= index);
    return position === this.count ? undefined : this.at(position);
  }

  #findLast(condition: (segment: Segment) => boolean): Segment {
    return this.at(Math.max(0, this.#countWhile(condition) - 1));
  }

  /** How many segments from the front fulfil a condition that, once false, stays false. */
  #countWhile(condition: (segment: Segment) => boolean): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (condition(this.at(middle))) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function isAtOrBelow(segment: Segment, offset: number): boolean {
  try {
    return segment.baseOffset() <= offset;
  } catch (error) {
    if (!isProglogError(error, "LOG_CORRUPT")) throw error;
    return false;
  }
}
