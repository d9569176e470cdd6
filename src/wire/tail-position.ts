import { ProglogError } from "../base/error.ts";

/**
 * How far a live tail has come: in each of its partitions the offset of the last record that was sent, -1 where none lies below.
 * It is the id of an event, so it must hold all of them: a browser that comes back names the last id that it saw, and nothing else.
 */
export type TailPosition = ReadonlyMap<number, number>;

/** `partition:offset`, with a comma between several. The offset alone for a topic of one partition. */
export function formatTailPosition(position: TailPosition, { isAlone }: { readonly isAlone: boolean }): string {
  if (isAlone) return String(position.get(0));
  return [...position].map(([partition, offset]) => `${partition}:${offset}`).join(",");
}

/** What `formatTailPosition` made. An offset alone is partition 0's. Throws INVALID_ARGUMENT. */
export function parseTailPosition(text: string): TailPosition {
  const position = new Map<number, number>();
  for (const part of text.split(",")) {
    const [, partitionText = "0", offsetText] = /^(?:(\d{1,9}):)?(-1|\d{1,16})$/.exec(part) ?? [];
    const partition = Number(partitionText);
    const offset = Number(offsetText);
    if (!Number.isSafeInteger(offset) || position.has(partition)) throw refuse(text);
    position.set(partition, offset);
  }
  return position;
}

function refuse(text: string): ProglogError {
  const shown = JSON.stringify(text.slice(0, 64));
  return new ProglogError("INVALID_ARGUMENT", `Cannot resume behind event ${shown}: it is no id of a tail`, {
    hint: "Send the id of the last event as it was, or none and from=….",
  });
}
