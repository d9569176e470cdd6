import { join, resolve } from "node:path";
import { type DiskFile, systemErrorCode } from "../../base/disk.ts";
import {
  doctorFreeFilesMinCount,
  doctorFreeMinRatio,
  doctorSyncBytes,
  doctorSyncMaxMs,
  doctorSyncsCount,
} from "../../base/doctor-limits.ts";
import { isProglogError, messageOf } from "../../base/error.ts";
import type { FileSystemFacts } from "../../base/file-system.ts";
import { formatBytes } from "../../base/quantity.ts";
import { GiB, MiB } from "../../base/units.ts";
import type { Config } from "../config.ts";
import type { DoctorSystem } from "./doctor-system.ts";
import { type Finding, ok, problem, warning } from "./finding.ts";

/** Where the data is to lie: whose it is at the moment, what it lies on, how much room there is, and how long a sync takes. */
export async function checkDisk(config: Config, system: DoctorSystem): Promise<readonly Finding[]> {
  let facts: FileSystemFacts;
  try {
    facts = system.describeFileSystem(config.dataDir);
  } catch (error) {
    return [
      problem(
        "disk",
        `${resolve(config.dataDir)} can't be looked at: ${messageOf(error)}`,
        "Give the user that runs the node access to it.",
      ),
    ];
  }
  return [
    checkHolder(config, system),
    checkKind(facts, system),
    checkRoom(config, facts),
    ...checkFiles(facts),
    await timeSyncs(facts.directory, system),
  ];
}

/** The process that has the directory open, if one has. */
export function findHolder({ dataDir }: Pick<Config, "dataDir">, { disk }: DoctorSystem): { readonly pid: string } | undefined {
  const path = join(dataDir, "lock");
  // Taking it would make it, in a directory that may be somebody else's business.
  if (disk.size(path) === undefined) return undefined;
  try {
    disk.lock(path).release();
    return undefined;
  } catch (error) {
    if (!isProglogError(error, "LOG_LOCKED")) throw error;
    return { pid: String(error.details["pid"] ?? "unknown") };
  }
}

function checkHolder(config: Config, system: DoctorSystem): Finding {
  const path = resolve(config.dataDir);
  if (!system.disk.isDirectory(path)) return ok("disk", `${path} isn't there yet; a start makes it`);
  try {
    const holder = findHolder(config, system);
    return ok("disk", holder === undefined ? `${path} is free to be opened` : `${path} is open in process ${holder.pid}`);
  } catch (error) {
    return problem(
      "disk",
      `${path} can't be locked: ${messageOf(error)}`,
      "A local file system and a directory of the node's own user allow it.",
    );
  }
}

function checkKind({ directory, kind }: FileSystemFacts, { disk, platform }: DoctorSystem): Finding {
  if (kind === undefined) {
    return platform === "linux"
      ? warning(
          "disk",
          `${directory} is on a file system that isn't known here`,
          "ext4 and xfs are what proglog is developed and measured on; the index stays on the heap elsewhere.",
        )
      : ok("disk", `${directory}: the kind of file system isn't known on this system`);
  }
  if (["tmpfs", "ramfs"].includes(kind))
    return problem(
      "disk",
      `${directory} is on ${kind}, which is memory: nothing outlives a restart`,
      "Put the data directory on a disk.",
    );
  if (["nfs", "cifs", "smb", "smb2", "fuse", "9p", "ceph"].includes(kind))
    return problem(
      "disk",
      `${directory} is on ${kind}, which locks and syncs by rules of its own`,
      "Put the data directory on a local file system: ext4 or xfs.",
    );
  if (kind === "overlayfs")
    return warning(
      "disk",
      `${directory} is on overlayfs, a container's own layer, and goes with the container`,
      "Mount a volume for the data directory.",
    );
  return ok("disk", `${directory} is on ${kind}${disk.canMap(directory) ? "" : ", where the index stays on the heap"}`);
}

function checkRoom(
  { segmentMaxBytes, retentionMaxBytes }: Config,
  { directory, freeBytes, totalBytes }: FileSystemFacts,
): Finding {
  const free = `${formatRoom(freeBytes)} of ${formatRoom(totalBytes)} are free at ${directory}`;
  const advice =
    retentionMaxBytes === null
      ? "Make room, or bound what is kept: --retention-max-bytes, --retention-max-age-ms, or a topic's own settings."
      : "Make room, or lower --retention-max-bytes: it counts for each partition.";
  if (freeBytes < segmentMaxBytes)
    return problem("disk", `${free}, less than a segment (--segment-max-bytes ${formatBytes(segmentMaxBytes)})`, advice);
  if (freeBytes < totalBytes * doctorFreeMinRatio) return warning("disk", `${free}, less than a tenth`, advice);
  return ok("disk", free);
}

/** Some file systems make files as they like, and count none. */
function checkFiles({ directory, freeFiles, totalFiles }: FileSystemFacts): readonly Finding[] {
  if (totalFiles === 0 || freeFiles >= doctorFreeFilesMinCount) return [];
  const finding = `only ${freeFiles.toLocaleString("en-US")} more files can be made at ${directory}`;
  return [warning("disk", finding, "Remove small files there, or make the file system with more inodes.")];
}

/** Writes and syncs a file of its own, as an append does, and removes it. */
async function timeSyncs(directory: string, { disk, clock }: DoctorSystem): Promise<Finding> {
  const path = join(directory, "doctor-probe");
  let file: DiskFile | undefined;
  const tookMs: number[] = [];
  try {
    // One that was stopped in the middle left it.
    disk.remove(path);
    file = disk.open(path, "create");
    for (let count = 0; count < doctorSyncsCount; count += 1) {
      file.writeSync([Buffer.alloc(doctorSyncBytes, 1)], count * doctorSyncBytes);
      const startedAt = clock.monotonic();
      await file.datasync();
      tookMs.push(clock.monotonic() - startedAt);
    }
  } catch (error) {
    const code = systemErrorCode(error);
    const advice =
      code === "EACCES" || code === "EPERM" || code === "EROFS"
        ? "Give it to the user that runs the node, on a file system that can be written to."
        : "Look at the disk: its diagnostics, dmesg.";
    return problem("disk", `${directory} can't be written to: ${messageOf(error)}`, advice);
  } finally {
    file?.close();
    if (file !== undefined) disk.remove(path);
  }
  tookMs.sort((a, b) => a - b);
  const medianMs = tookMs[Math.floor(tookMs.length / 2)] ?? 0;
  const text = `a sync of ${formatBytes(doctorSyncBytes)} takes ${medianMs.toFixed(2)} ms, at most ${(tookMs.at(-1) ?? 0).toFixed(2)} ms of ${tookMs.length}`;
  return medianMs > doctorSyncMaxMs
    ? warning("disk", text, "Every acknowledgement waits for one: use a faster disk, or one that nobody else writes to.")
    : ok("disk", text);
}

function formatRoom(bytes: number): string {
  return bytes < GiB ? `${(bytes / MiB).toFixed(0)} MiB` : `${(bytes / GiB).toFixed(1)} GiB`;
}
