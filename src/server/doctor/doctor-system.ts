import { lookup } from "node:dns/promises";
import { get } from "node:http";
import { createServer } from "node:net";
import { getHeapStatistics } from "node:v8";
import { type Clock, systemClock } from "../../base/clock.ts";
import type { Disk } from "../../base/disk.ts";
import { doctorAnswerMaxMs } from "../../base/doctor-limits.ts";
import { describeFile, describeFileSystem, type FileFacts, type FileSystemFacts } from "../../base/file-system.ts";
import { loadMmap } from "../../base/mmap.ts";
import { nodeDisk } from "../../base/node-disk.ts";
import { isCrc32cNative } from "../../batch/crc32c.ts";
import { type OtlpTarget, sendOtlp } from "../otlp/otlp-sender.ts";
import { formatNodeAddress, type NodeAddress } from "../node-address.ts";

/** The machine as the doctor asks it, handed in so that a test can be a sick one. */
export interface DoctorSystem {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly nodeVersion: string;
  /** "linux" */
  readonly platform: string;
  readonly availableMemoryBytes: number;
  readonly heapLimitBytes: number;
  readonly isMmapLoaded: boolean;
  readonly isCrc32cNative: boolean;
  describeFileSystem(path: string): FileSystemFacts;
  describeFile(path: string): FileFacts | undefined;
  /** Listens there and stops at once. Throws as Node does. */
  tryListen(address: NodeAddress): Promise<void>;
  /** Addresses of a name. Throws when there is none. */
  lookup(host: string): Promise<readonly string[]>;
  /** Asks for `/livez`. Throws when nobody answers within `doctorAnswerMaxMs`; any answer at all is one. */
  askLivez(address: NodeAddress): Promise<LivezAnswer>;
  /** Pushes a message that says nothing. Throws what is wrong with it, or with the collector. */
  pushNothing(target: OtlpTarget): Promise<void>;
}

export interface LivezAnswer {
  readonly status: number;
  /** The other end's time, in whole seconds, as ms since 1970. */
  readonly date: number | undefined;
}

export function thisSystem(): DoctorSystem {
  return {
    disk: nodeDisk,
    clock: systemClock,
    nodeVersion: process.versions.node,
    platform: process.platform,
    availableMemoryBytes: process.availableMemory(),
    heapLimitBytes: getHeapStatistics().heap_size_limit,
    isMmapLoaded: loadMmap() !== undefined,
    isCrc32cNative: isCrc32cNative(),
    describeFileSystem,
    describeFile,
    tryListen,
    lookup: async (host) => (await lookup(host, { all: true })).map(({ address }) => address),
    askLivez,
    async pushNothing(target) {
      await sendOtlp(target, "/v1/metrics", { resourceMetrics: [] }, AbortSignal.timeout(doctorAnswerMaxMs));
    },
  };
}

function tryListen({ host, port }: NodeAddress): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const server = createServer();
  server.once("error", reject);
  server.listen({ host, port }, () => server.close(() => resolve()));
  return promise;
}

function askLivez(address: NodeAddress): Promise<LivezAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<LivezAnswer>();
  const signal = AbortSignal.timeout(doctorAnswerMaxMs);
  const request = get(`http://${formatNodeAddress(address)}/livez`, { signal, agent: false }, (response) => {
    const date = Date.parse(response.headers.date ?? "");
    resolve({ status: response.statusCode ?? 0, date: Number.isNaN(date) ? undefined : date });
    response.destroy();
  });
  request.on("error", reject);
  return promise;
}
