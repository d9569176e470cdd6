import type { DiskFile } from "../base/disk.ts";
import { syncedBackUnknown } from "./frame.ts";
import { FrameSearch } from "./frame-search.ts";

/**
 * The largest index that a frame found in `[from, to)` vouches for as synced: its index - syncedBack. Any byte position is
 * tried, since a bad length leaves no other way on; frames of entries that are known already say nothing new and are passed
 * over, so is what lies further ahead than frames fit in between, such as a copy of this very store inside a record. 0 when there is none.
 */
export function findVouchedIndex(
  file: DiskFile,
  from: number,
  to: number,
  known: { readonly seed: number; readonly lastIndex: number },
): number {
  let vouched = 0;
  const search = new FrameSearch({ file, from, to, ...known });
  while (!search.isDone) {
    for (const { header } of search.next()) {
      if (header.syncedBack !== syncedBackUnknown) vouched = Math.max(vouched, header.index - header.syncedBack);
    }
  }
  return vouched;
}
