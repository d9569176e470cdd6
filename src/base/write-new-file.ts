import type { Disk } from "./disk.ts";

/** Writes a file anew and syncs what is in it, in the place of one that a crash may have left. Its name isn't durable yet. */
export async function writeNewFile(disk: Disk, path: string, bytes: Buffer): Promise<void> {
  disk.remove(path);
  const file = disk.open(path, "create");
  try {
    file.writeSync([bytes], 0);
    await file.datasync();
  } finally {
    file.close();
  }
}
