import type { Disk, DiskFile } from "../src/base/disk.ts";
import { nodeDisk } from "../src/base/node-disk.ts";

/** The real disk without its syncs: to prepare in seconds what would take a log minutes. Nothing is measured on it. */
export const unsyncedDisk: Disk = {
  ...nodeDisk,
  open: (path, mode) => withoutSync(nodeDisk.open(path, mode)),
  syncDirectory: () => Promise.resolve(),
};

function withoutSync(file: DiskFile): DiskFile {
  file.datasync = () => Promise.resolve();
  return file;
}
