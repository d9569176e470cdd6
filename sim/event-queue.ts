import { assert } from "../src/base/assert.ts";
import type { Timer } from "../src/base/clock.ts";

/**
 * What is to happen in a simulated world, by its time. Events of one time run in the order in which they were planned, so a world
 * has one order of things and no other.
 */
export class EventQueue {
  #nowMs = 0;
  #planned = 0;
  readonly #heap: PlannedEvent[] = [];

  get nowMs(): number {
    return this.#nowMs;
  }

  get nextMs(): number | undefined {
    return this.#heap[0]?.atMs;
  }

  after(delayMs: number, run: () => void): Timer {
    assert(delayMs >= 0, "an event lies in the future");
    const event: PlannedEvent = { atMs: this.#nowMs + delayMs, order: this.#planned, run };
    this.#planned += 1;
    this.#push(event);
    return { cancel: () => void (event.run = undefined) };
  }

  /** Runs the next event, unless it comes later than `untilMs`; false when there is none. */
  runNext(untilMs: number): boolean {
    for (;;) {
      const [event] = this.#heap;
      if (event === undefined || event.atMs > untilMs) return false;
      this.#pop();
      const { run } = event;
      if (run === undefined) continue;
      this.#nowMs = event.atMs;
      run();
      return true;
    }
  }

  #push(event: PlannedEvent): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = heap[parentAt];
      if (parent === undefined || isBefore(parent, event)) break;
      heap[at] = parent;
      at = parentAt;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let childAt = 2 * at + 1;
      let child = heap[childAt];
      const right = heap[childAt + 1];
      if (child !== undefined && right !== undefined && isBefore(right, child)) {
        child = right;
        childAt += 1;
      }
      if (child === undefined || isBefore(last, child)) break;
      heap[at] = child;
      at = childAt;
    }
    heap[at] = last;
  }
}

interface PlannedEvent {
  readonly atMs: number;
  readonly order: number;
  /** Undefined once it was cancelled. */
  run: (() => void) | undefined;
}

function isBefore(one: PlannedEvent, other: PlannedEvent): boolean {
  return one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order);
}
