/**
 * What is under way, in the order of its last index, with its bytes: appends that a peer hasn't acknowledged, proposals that
 * aren't committed. Freed from the front as an index moves up.
 */
export interface ByteWindow {
  readonly items: { readonly lastIndex: number; readonly bytes: number }[];
  /** Items before it are freed; they are dropped together, so that freeing one doesn't move the others. */
  head: number;
  bytes: number;
}

const freedMaxCount = 64;

export function emptyWindow(): ByteWindow {
  return { items: [], head: 0, bytes: 0 };
}

export function windowCount(window: ByteWindow): number {
  return window.items.length - window.head;
}

export function addToWindow(window: ByteWindow, lastIndex: number, bytes: number): void {
  window.items.push({ lastIndex, bytes });
  window.bytes += bytes;
}

/** Frees what ends at or below `index`. */
export function freeWindow(window: ByteWindow, index: number): void {
  for (let item = window.items[window.head]; item !== undefined && item.lastIndex <= index; item = window.items[window.head]) {
    window.bytes -= item.bytes;
    window.head += 1;
  }
  if (window.head === window.items.length) window.items.length = 0;
  else if (window.head < freedMaxCount) return;
  else window.items.splice(0, window.head);
  window.head = 0;
}
