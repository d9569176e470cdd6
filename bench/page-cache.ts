import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";

/** Writes everything out and drops the page cache, for a start as after a reboot. False where only root may, or not on Linux. */
export function dropPageCache(): boolean {
  try {
    // Only clean pages are dropped.
    execFileSync("sync");
    writeFileSync("/proc/sys/vm/drop_caches", "3");
    return true;
  } catch {
    return false;
  }
}
