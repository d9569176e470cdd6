import { doctorFutureMaxMs, doctorMemoryMinBytes, doctorPartitionsMinCount, doctorYearMin } from "../../base/doctor-limits.ts";
import { isProglogError, messageOf } from "../../base/error.ts";
import { join } from "node:path";
import { connectionsMaxCount, partitionFilesCount, partitionsMaxCount, reservedFilesCount } from "../../base/limits.ts";
import { MiB } from "../../base/units.ts";
import { checkCompression } from "../../batch/compression.ts";
import type { Config } from "../config.ts";
import type { DoctorSystem } from "./doctor-system.ts";
import { type Finding, ok, problem, warning } from "./finding.ts";

export function checkRuntime({ nodeVersion, platform }: DoctorSystem): Finding {
  const major = Number(nodeVersion.split(".", 1)[0]);
  if (major < nodeMajorMin)
    return problem("runtime", `Node ${nodeVersion} is too old`, `Run proglog with Node ${nodeMajorMin} or newer.`);
  if (platform !== "linux")
    return warning("runtime", `Node ${nodeVersion} on ${platform}`, "Linux is what proglog is developed and tested on.");
  return ok("runtime", `Node ${nodeVersion} on ${platform}`);
}

const nodeMajorMin = 24;

/** How many partitions the process's limit of open files leaves room for, as a node counts it. */
export function checkDescriptors({ maxConnections }: Config, { disk }: DoctorSystem): Finding {
  const limit = disk.openFilesMaxCount;
  if (limit === undefined) return ok("descriptors", "how many files the process may have open isn't known on this system");
  const reserved = reservedFilesCount + Math.max(0, maxConnections - connectionsMaxCount);
  const partitions = Math.max(0, Math.floor((limit - reserved) / partitionFilesCount));
  const text = `${limit.toLocaleString("en-US")} files may be open: enough for ${Math.min(partitions, partitionsMaxCount).toLocaleString("en-US")} partitions beside ${maxConnections.toLocaleString("en-US")} connections`;
  const advice =
    "Allow 65,536: LimitNOFILE=65536 in a systemd unit, ulimits of a container, or the hard limit of the shell (ulimit -Hn).";
  if (partitions < 1) return problem("descriptors", text, advice);
  return partitions < doctorPartitionsMinCount ? warning("descriptors", text, advice) : ok("descriptors", text);
}

export function checkMemory({ availableMemoryBytes, heapLimitBytes }: DoctorSystem): Finding {
  const text = `${formatMiB(availableMemoryBytes)} of memory are free, and ${formatMiB(heapLimitBytes)} of it may be the heap`;
  if (Math.min(availableMemoryBytes, heapLimitBytes) >= doctorMemoryMinBytes) return ok("memory", text);
  return warning(
    "memory",
    text,
    `A node takes up to ${formatMiB(doctorMemoryMinBytes)} under load, and more with many partitions: give it as much, or lower --max-body-bytes and --max-connections.`,
  );
}

/** Whether the time can be true. How it differs from other nodes' is asked with these. */
export function checkClock({ dataDir }: Config, system: DoctorSystem): Finding {
  const now = system.clock.now();
  const text = `the clock says ${new Date(now).toISOString()}`;
  const advice =
    "Set it, and keep it by NTP (chrony, systemd-timesyncd): retention by age, timestamps and certificates go by it.";
  if (new Date(now).getUTCFullYear() < doctorYearMin) return problem("clock", `${text}, which can't be`, advice);
  for (const name of ["manifest", "lock.pid", "node-record"]) {
    const path = join(dataDir, name);
    const { writtenAt = 0 } = system.describeFile(path) ?? {};
    if (writtenAt > now + doctorFutureMaxMs)
      return warning(
        "clock",
        `${text}, and ${path} was written at ${new Date(writtenAt).toISOString()}: it has gone back`,
        advice,
      );
  }
  return ok("clock", text);
}

/** What is installed beside proglog or not, and what it costs. */
export function checkPackages({ index }: Config, { isMmapLoaded, isCrc32cNative, platform }: DoctorSystem): readonly Finding[] {
  const isMmapMissing = !isMmapLoaded && platform === "linux";
  return [
    isCrc32cNative
      ? ok("packages", "checksums are computed by @node-rs/crc32")
      : warning(
          "packages",
          "@node-rs/crc32 isn't there for this platform: checksums are computed in TypeScript, several times slower",
          "Install proglog anew on this machine, with its optional packages.",
        ),
    isMmapMissing && index === "mmap"
      ? problem(
          "packages",
          "--index mmap needs koffi, which isn't there",
          "Install koffi beside proglog, or leave --index at auto.",
        )
      : ok(
          "packages",
          isMmapLoaded ? "koffi is there: indexes may be mapped into memory" : "koffi isn't used: indexes stay on the heap",
        ),
    ok("packages", describeCodecs()),
  ];
}

function describeCodecs(): string {
  const told = (["snappy", "lz4"] as const).map((compression) => {
    try {
      checkCompression(compression);
      return `${compression} is there`;
    } catch (error) {
      if (!isProglogError(error)) throw error;
      return `${messageOf(error).replace(/^.*?: /, "")}: topics and clients that use ${compression} are refused`;
    }
  });
  return `gzip and zstd come with Node; ${told.join("; ")}`;
}

function formatMiB(bytes: number): string {
  return `${Math.floor(bytes / MiB).toLocaleString("en-US")} MiB`;
}
