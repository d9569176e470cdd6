import fs from "node:fs";
import { dirname, resolve } from "node:path";
import { systemErrorCode } from "./disk.ts";

/** What lies below a directory, as the system tells it. */
export interface FileSystemFacts {
  /** The directory itself, or the nearest above it that is there. */
  readonly directory: string;
  /** "ext4", "nfs"; undefined for one that isn't known here. */
  readonly kind: string | undefined;
  readonly totalBytes: number;
  /** For this process: what is kept for the superuser isn't free. */
  readonly freeBytes: number;
  /** 0 where the file system doesn't count them. */
  readonly totalFiles: number;
  readonly freeFiles: number;
}

/** Throws what Node throws where nobody may ask. */
export function describeFileSystem(path: string): FileSystemFacts {
  const directory = nearestDirectory(resolve(path));
  const { type, bsize, blocks, bavail, files, ffree } = fs.statfsSync(directory);
  return {
    directory,
    kind: fileSystemNames[type],
    totalBytes: blocks * bsize,
    freeBytes: bavail * bsize,
    totalFiles: files,
    freeFiles: ffree,
  };
}

/** When a file was written last, in ms since 1970, and who may read it. Undefined where there is none. */
export function describeFile(path: string): FileFacts | undefined {
  const stats = fs.statSync(path, { throwIfNoEntry: false });
  return stats === undefined ? undefined : { writtenAt: stats.mtimeMs, mode: stats.mode & 0o777 };
}

export interface FileFacts {
  readonly writtenAt: number;
  /** The nine bits of owner, group and others. */
  readonly mode: number;
}

function nearestDirectory(path: string): string {
  for (let directory = path; ; directory = dirname(directory)) {
    try {
      if (fs.statSync(directory).isDirectory() || directory === dirname(directory)) return directory;
    } catch (error) {
      const code = systemErrorCode(error);
      if ((code !== "ENOENT" && code !== "ENOTDIR") || directory === dirname(directory)) throw error;
    }
  }
}

/** By the magic number of statfs(2), on Linux. */
const fileSystemNames: Readonly<Record<number, string>> = {
  0xef53: "ext4",
  0x58465342: "xfs",
  0x9123683e: "btrfs",
  0x2fc12fc1: "zfs",
  0xf2f52010: "f2fs",
  0x794c7630: "overlayfs",
  0x01021994: "tmpfs",
  0x858458f6: "ramfs",
  0x6969: "nfs",
  0xff534d42: "cifs",
  0xfe534d42: "smb2",
  0x517b: "smb",
  0x65735546: "fuse",
  0x01021997: "9p",
  0x00c36400: "ceph",
};
