import { createVirtualClock } from "../../sim/clock.ts";
import { createSeededRandom } from "../../sim/random.ts";
import type { Compression } from "../../src/batch/compression.ts";
import type { RecordInput } from "../../src/batch/record.ts";
import type { Disk } from "../../src/base/disk.ts";
import { createMemoryDisk } from "../../src/base/memory-disk.ts";
import type { AppendOptions } from "../../src/log/log.ts";
import { openLog } from "../../src/log/open-log.ts";
import { DumbLog, type PlainRecord, plainOf } from "../dumb-log.ts";

/**
 * The logs whose files are kept in the repository: what one version wrote, every later one has to read. They are put together
 * so that every file and nearly every field of docs/format.md has a value that isn't zero.
 */
export interface GoldenLog {
  readonly name: string;
  readonly steps: readonly GoldenStep[];
  /** Whether the log is closed at the end, or left as kill -9 leaves it. */
  readonly isClosed: boolean;
}

type GoldenStep =
  | ({ readonly kind: "append"; readonly records: readonly RecordInput[] } & Pick<AppendOptions, "compression" | "producer">)
  | { readonly kind: "advance"; readonly ms: number }
  | { readonly kind: "truncate" | "trim"; readonly offset: number }
  | { readonly kind: "reopen" };

const startMs = 1_760_000_000_000;
const options = { segmentMaxBytes: 1024, index: "heap", retentionIntervalMs: 86_400_000 } as const;

const records: readonly RecordInput[] = [
  { value: "hello" },
  { key: "order-1", value: "placed" },
  { key: "order-1", value: null, timestamp: startMs + 5 },
  { key: "", value: "" },
  {
    value: Buffer.from([0, 255, 128]),
    headers: [
      { key: "trace", value: "abc" },
      { key: "ü", value: null },
      { key: "trace", value: "" },
    ],
  },
  { key: "late", value: "from the past", timestamp: 1 },
  { key: "early", value: "from the future", timestamp: startMs + 86_400_000 },
  { value: "x".repeat(400) },
];

function append(from: number, count: number, compression?: Compression): GoldenStep {
  return { kind: "append", records: choose(from, count), ...(compression !== undefined && { compression }) };
}

/** As the batch of a producer, of epoch 3. */
function produce(id: number, baseSequence: number, count: number): GoldenStep {
  return { kind: "append", records: choose(id, count), producer: { id, epoch: 3, baseSequence } };
}

function choose(from: number, count: number): RecordInput[] {
  return Array.from({ length: count }, (_, i) => records[(from + i) % records.length] ?? { value: null });
}

const minute: GoldenStep = { kind: "advance", ms: 60_000 };
const singles = (count: number): GoldenStep[] =>
  Array.from({ length: count }, (_, i) => [append(i, 1), minute] as const).flat();

export const goldenLogs: readonly GoldenLog[] = [
  { name: "worked-example", isClosed: false, steps: [append(0, 1)] },
  { name: "empty", isClosed: true, steps: [] },
  {
    name: "closed",
    isClosed: true,
    steps: [
      ...singles(16),
      append(0, 8),
      { kind: "truncate", offset: 15 },
      append(2, 3),
      { kind: "trim", offset: 6 },
      { kind: "reopen" },
      append(1, 2),
    ],
  },
  {
    name: "killed",
    isClosed: false,
    steps: [...singles(10), append(0, 4), { kind: "trim", offset: 2 }, { kind: "reopen" }, ...singles(3), append(4, 3)],
  },
  {
    name: "compressed",
    isClosed: true,
    steps: [
      append(0, 8, "gzip"),
      minute,
      append(3, 5, "zstd"),
      append(0, 1, "zstd"),
      append(0, 8, "none"),
      append(7, 2, "gzip"),
    ],
  },
  {
    name: "producers",
    isClosed: true,
    steps: [
      produce(1, 0, 2),
      produce(2, 2 ** 31 - 2, 3),
      ...[2, 4, 6, 8, 10].flatMap((sequence) => [minute, produce(1, sequence, 2)]),
      append(0, 1),
      produce(2, 1, 1),
    ],
  },
];

/** A golden log's files by name, and its records. */
export interface WrittenLog {
  readonly files: ReadonlyMap<string, Buffer>;
  readonly records: readonly PlainRecord[];
}

/** Writes a log anew, with a fixed clock and fixed randomness. */
export async function writeGoldenLog({ steps, isClosed }: GoldenLog): Promise<WrittenLog> {
  const disk = createMemoryDisk();
  const clock = createVirtualClock(startMs);
  const open = () => openLog("/log", { ...options, disk, clock, random: createSeededRandom("golden"), takesLock: false });
  const model = new DumbLog();
  let log = await open();
  for (const step of steps) {
    switch (step.kind) {
      case "append":
        model.append(step.records.map((record, i) => plainOf(record, model.logEndOffset + i, clock.now())));
        await log.append(step.records, {
          ...(step.compression !== undefined && { compression: step.compression }),
          ...(step.producer !== undefined && { producer: step.producer }),
        });
        break;
      case "advance":
        clock.advance(step.ms);
        // The sync mark is synced when the log is idle.
        await log.sync();
        break;
      case "reopen":
        await log.close();
        log = await open();
        break;
      default:
        await log[step.kind](step.offset);
        model[step.kind](step.offset);
    }
  }
  if (isClosed) await log.close();
  return { files: readFiles(disk, "/log"), records: model.records() };
}

export function readFiles(disk: Disk, directory: string): Map<string, Buffer> {
  return new Map(
    disk.list(directory).map((name) => {
      const file = disk.open(`${directory}/${name}`, "read");
      const bytes = Buffer.alloc(file.size());
      file.readSync(bytes, 0);
      file.close();
      return [name, bytes];
    }),
  );
}
