import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import packageManifest from "../package.json" with { type: "json" };
import { restoreBackup, verifyBackup } from "../src/backup/index.ts";
import { crc32c } from "../src/batch/crc32c.ts";
import { systemClock } from "../src/base/clock.ts";
import type { Disk } from "../src/base/disk.ts";
import { silentLogger } from "../src/base/logger.ts";
import { createMemoryDisk } from "../src/base/memory-disk.ts";
import { systemRandom } from "../src/base/random.ts";
import { compactionMarkName } from "../src/log/compaction-mark.ts";
import { encodeMergeNote } from "../src/log/merge-note.ts";
import { syncMarkName, syncMarkSlotBytes, syncMarkSlotPositions } from "../src/log/sync-mark.ts";
import { catalogVersion } from "../src/replica/cluster/catalog-fold.ts";
import { hardStateHeadBytes } from "../src/replica/group/hard-state-file.ts";
import { peerVersion } from "../src/wire/peer-hello.ts";
import { type DirectoryImage, readGoldenDirectories, readWhole, writeDirectoryImage } from "./golden/golden-directories.ts";
import { repository } from "./source-code.ts";
import { startTestNode } from "./test-node.ts";

/** Where a file says of which version it is, and what has to be right for it to be believed. */
interface VersionField {
  /** As docs/upgrading.md calls it. */
  readonly format: string;
  readonly file: RegExp;
  readonly bytes: 1 | 2 | 4;
  readonly position: number;
  readonly crcPosition: number;
  /** What the crc covers in a file of that many bytes, seeded with the log's id or not. */
  readonly covered: (fileBytes: number) => readonly (readonly [start: number, end: number])[];
  readonly isSeeded: boolean;
  /** Whether a node starts at all on a file of a later version, or starts without that partition, or does without the file. */
  readonly later: "stops the node" | "closes its partition" | "is done without" | "isn't restored";
}

const slot = (position: number): Omit<VersionField, "format" | "file" | "later"> => ({
  ...{ bytes: 2, position: position + 12, crcPosition: position + 8, isSeeded: true },
  covered: () => [[position + 12, position + syncMarkSlotBytes]],
});

const whole = { crcPosition: 8, isSeeded: false, covered: (bytes: number) => [[12, bytes]] as const };

const fields: readonly VersionField[] = [
  { format: "manifest", file: /^manifest$/, bytes: 4, position: 12, later: "stops the node", ...whole },
  { format: "node record", file: /^node-record$/, bytes: 4, position: 12, later: "stops the node", ...whole },
  {
    ...{ format: "hard states", file: /^hard-state$/, bytes: 2, position: 12, later: "stops the node", ...whole },
    covered: () => [[12, hardStateHeadBytes]],
  },
  {
    ...{ format: "frame", file: /\.store$/, bytes: 1, position: 15, crcPosition: 8, isSeeded: true },
    ...{ covered: () => frameCovered, later: "closes its partition" },
  },
  {
    ...{ format: "segment header", file: /\.store$/, bytes: 4, position: 100, crcPosition: 8, isSeeded: true },
    ...{ covered: () => frameCovered, later: "closes its partition" },
  },
  { format: "backup manifest", file: /^backup$/, bytes: 4, position: 12, later: "isn't restored", ...whole },
  { format: "base record", file: /\/base-[01]$/, bytes: 2, position: 16, later: "closes its partition", ...whole },
  ...syncMarkSlotPositions.map(
    (position): VersionField => ({
      ...{ format: "sync mark", file: new RegExp(`/${syncMarkName}$`), later: "closes its partition", ...slot(position) },
    }),
  ),
  {
    ...{ format: "compaction mark", file: new RegExp(`/${compactionMarkName}$`), bytes: 2, position: 12, ...whole },
    ...{ isSeeded: true, later: "is done without" },
  },
];

/** Of a segment header: the length, the rest of the head, and the payload. */
const frameCovered = [
  [0, 8],
  [12, 128],
] as const;

/** docs/upgrading.md promises what is held here. */
describe("versions of formats", () => {
  const page = readFileSync(join(repository, "docs/upgrading.md"), "utf8");
  const told = new Map(
    [...page.matchAll(/^\| ([a-z ]+) \| .*\| (\d+) \|$/gm)].map(([, format, version]) => [format, Number(version)]),
  );

  test("are those that the page tells, in the golden files and in the code", async () => {
    const found = new Map<string | undefined, number>([
      ["peer protocol", peerVersion],
      ["catalog", catalogVersion],
      ["merge note", encodeMergeNote({ baseIndexes: [1, 2], lastIndex: 3 }, 0).readUInt16LE(12)],
    ]);
    for (const field of fields) {
      const disk = createMemoryDisk();
      const { image } = exampleOf(field);
      await writeDirectoryImage(disk, "/data", image);
      const [path = ""] = pathsOf(image, field);
      found.set(field.format, versionIn(readWhole(disk, join("/data", path)), field));
    }
    assert.deepEqual(told, found);
  });

  for (const field of new Map(fields.map((each) => [each.format, each])).values()) {
    test(`${field.format}: one of a later version ${field.later}, and is left as it is`, async () => {
      const { image, nodeName } = exampleOf(field);
      const disk = createMemoryDisk();
      await writeDirectoryImage(disk, "/data", image);
      const raised = fields
        .filter(({ format }) => format === field.format)
        .flatMap((each) => pathsOf(image, each).map((path) => ({ path: join("/data", path), each })));
      for (const { path, each } of raised) raiseVersion(disk, path, each);
      const before = raised.map(({ path }) => readWhole(disk, path));

      if (field.later === "isn't restored") {
        await assert.rejects(verifyBackup("/data", { disk }), { code: "UNSUPPORTED_FORMAT" });
        const parts = { disk, clock: systemClock, random: systemRandom, logger: silentLogger };
        await assert.rejects(restoreBackup("/data", "/restored", parts), { code: "UNSUPPORTED_FORMAT" });
        assert.equal(disk.isDirectory("/restored"), false);
        return;
      }
      const flags = nodeName === "single" ? {} : { "node-name": nodeName, "start-join-addrs": "127.0.0.1:1" };
      if (field.later === "stops the node")
        await assert.rejects(startTestNode({ disk, flags }), { code: "UNSUPPORTED_FORMAT" });
      else {
        await using node = await startTestNode({ disk, flags });
        const { partitions } = await node.json<{ partitions: readonly Partition[] }>("GET", "/v1/status");
        const code = field.later === "closes its partition" ? "UNSUPPORTED_FORMAT" : undefined;
        assert.deepEqual(
          partitions.map(({ topic, error }) => [topic, error?.code]),
          [
            ["orders", code],
            ["states", code],
          ],
        );
      }
      assert.deepEqual(
        raised.map(({ path }) => readWhole(disk, path)),
        before,
      );
    });
  }
});

interface Partition {
  readonly topic: string;
  readonly error?: { readonly code: string };
}

/** A golden directory that has such a file. */
function exampleOf(field: VersionField): { readonly image: DirectoryImage; readonly nodeName: string } {
  const { version } = packageManifest;
  const examples = ["single-node", "three-nodes", "backup"].flatMap((name) =>
    Object.entries(readGoldenDirectories(version, name).nodes),
  );
  const example = examples.find(([, image]) => pathsOf(image, field).length > 0);
  assert.ok(example !== undefined, `no golden directory has a ${field.format}`);
  return { nodeName: example[0], image: example[1] };
}

function pathsOf(image: DirectoryImage, { file }: VersionField): string[] {
  return Object.keys(image).filter((path) => file.test(path));
}

function versionIn(bytes: Buffer, field: VersionField): number {
  return bytes.readUIntLE(field.position, field.bytes);
}

/** As a later version would have written it: whole, with the right checksum. */
function raiseVersion(disk: Disk, path: string, field: VersionField): void {
  const bytes = readWhole(disk, path);
  const logIdAt = 32;
  const seed = field.isSeeded ? crc32c(readWhole(disk, join(path, "..", "base-0")), logIdAt, logIdAt + 16) : 0;
  const sum = (): number => field.covered(bytes.length).reduce((crc, [start, end]) => crc32c(bytes, start, end, crc), seed);
  if (bytes.readUInt32LE(field.crcPosition) === 0) return; // nothing was ever written there
  assert.equal(bytes.readUInt32LE(field.crcPosition), sum(), `${path}: its checksum is another`);
  bytes.writeUIntLE(versionIn(bytes, field) + 1, field.position, field.bytes);
  bytes.writeUInt32LE(sum(), field.crcPosition);
  const file = disk.open(path, "write");
  file.writeSync([bytes], 0);
  file.close();
}
