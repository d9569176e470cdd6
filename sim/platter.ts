import { readFrame } from "../src/log/frame.ts";
import { segmentHeaderBytes } from "../src/log/segment-header.ts";
import { parseStoreName } from "../src/log/segment-name.ts";
import type { Member } from "../src/raft/member.ts";
import { loseAll } from "./crash.ts";
import type { NodeSlot } from "./node-slot.ts";

/**
 * Whether an entry would still be there if the power went now and took everything that isn't synced. Undefined when nobody can say:
 * the disk is another one by now, or damaged.
 */
export function isOnPlatter(
  slot: NodeSlot,
  member: Member,
  seed: number,
  entry: { readonly index: number; readonly term: number },
): boolean | undefined {
  if (slot.isLost || slot.member.storageId !== member.storageId) return undefined;
  const image = slot.disk.crash(loseAll, { isRecording: false });
  const directory = `/${member.nodeId}/log`;
  if (!image.isDirectory(directory)) return false;
  const stores = image.list(directory).flatMap((name) => {
    const baseIndex = parseStoreName(name);
    return baseIndex === undefined || baseIndex > entry.index ? [] : [{ name, baseIndex }];
  });
  const store = stores.sort((a, b) => a.baseIndex - b.baseIndex).at(-1);
  if (store === undefined) return false;
  const bytes = image.contentOf(`${directory}/${store.name}`);
  for (let at = segmentHeaderBytes; at < bytes.length; ) {
    const read = readFrame(bytes, at, bytes.length, at, seed);
    if (read.outcome !== "frame") return false;
    if (read.frame.index === entry.index) return read.frame.term === entry.term;
    at += read.frame.byteLength;
  }
  return false;
}
