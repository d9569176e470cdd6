import { join } from "node:path";
import { readFileSync } from "node:fs";
import { deflateRawSync, inflateRawSync } from "node:zlib";
import type { Disk } from "../../src/base/disk.ts";

/**
 * Data directories as whole nodes left them, in one file: what one version wrote, every later one has to start from. They come from real
 * nodes, with random ids and times of the day: nobody could write them the same again, and only reading them is held.
 */
export interface GoldenDirectories {
  /** By node name. */
  readonly nodes: Readonly<Record<string, DirectoryImage>>;
  /** What each partition has, `topic/partition`, in order. */
  readonly records: Readonly<Record<string, readonly GoldenRecord[]>>;
}

export interface GoldenRecord {
  readonly offset: number;
  readonly key: string | null;
  readonly value: string | null;
}

/** By path in the directory: each file deflated, in base64. */
export type DirectoryImage = Readonly<Record<string, string>>;

export function readGoldenDirectories(version: string, name: string): GoldenDirectories {
  return JSON.parse(readFileSync(join(import.meta.dirname, version, `${name}.json`), "utf8")) as GoldenDirectories;
}

/** All files below a directory, but for locks. */
export function readDirectoryImage(disk: Disk, directory: string, below = ""): DirectoryImage {
  const image: Record<string, string> = {};
  for (const name of disk.list(join(directory, below))) {
    const path = join(below, name);
    if (disk.isDirectory(join(directory, path))) Object.assign(image, readDirectoryImage(disk, directory, path));
    else if (!name.startsWith("lock"))
      image[path] = deflateRawSync(readWhole(disk, join(directory, path)), { level: 9 }).toString("base64");
  }
  return image;
}

export async function writeDirectoryImage(disk: Disk, directory: string, image: DirectoryImage): Promise<void> {
  for (const [path, content] of Object.entries(image)) {
    await disk.makeDirectory(join(directory, path, ".."));
    const file = disk.open(join(directory, path), "create");
    file.writeSync([inflateRawSync(Buffer.from(content, "base64"))], 0);
    file.close();
  }
}

export function readWhole(disk: Disk, path: string): Buffer {
  const file = disk.open(path, "read");
  try {
    const bytes = Buffer.alloc(file.size());
    file.readSync(bytes, 0);
    return bytes;
  } finally {
    file.close();
  }
}
