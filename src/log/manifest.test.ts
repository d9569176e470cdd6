import assert from "node:assert/strict";
import { test } from "node:test";
import { writeUint64LE } from "../base/bytes.ts";
import { systemError } from "../base/disk-error.ts";
import type { Disk } from "../base/disk.ts";
import { isProglogError } from "../base/error.ts";
import { createMemoryDisk } from "../base/memory-disk.ts";
import { crc32c } from "../batch/crc32c.ts";
import { decodeManifest, encodeManifest, type Manifest, readManifest, writeManifest } from "./manifest.ts";

const path = "/data/manifest";

const manifest: Manifest = {
  generation: 7,
  storageId: "00112233445566778899aabbccddeeff",
  topics: [
    {
      name: "orders",
      uuid: uuid(1),
      createdAt: 1_760_000_000_000,
      partitions: [
        { partition: 0, uuid: uuid(2) },
        { partition: 1, uuid: uuid(3) },
      ],
      settings: { note: "kept" },
    },
  ],
  deleted: [uuid(4)],
};

test("a manifest is read as it was written", async () => {
  const disk = await makeDisk();
  await writeManifest(disk, path, manifest);
  assert.deepEqual(readManifest(disk, path), manifest);
  assert.deepEqual(disk.list("/data").toSorted(), ["manifest", "manifest.spare"]);
});

test("a manifest that isn't there is undefined, not empty", async () => {
  assert.equal(readManifest(await makeDisk(), path), undefined);
});

test("a manifest's bytes are those of docs/format.md", () => {
  const bytes = encodeManifest({ generation: 1, storageId: manifest.storageId, topics: [], deleted: [] });
  const json = `{"storageId":"${manifest.storageId}","topics":[],"deleted":[]}`;
  const head = Buffer.alloc(32);
  head.write("PLMANIF1", "latin1");
  head.writeUInt32LE(1, 12);
  head.writeUInt32LE(1, 16);
  head.writeUInt32LE(json.length, 24);
  head.writeUInt32LE(crc32c(Buffer.concat([head.subarray(12), Buffer.from(json)])), 8);
  assert.deepEqual(bytes, Buffer.concat([head, Buffer.from(json)]));
});

test("a manifest keeps its access policy, and one that is no text is corrupt, not absent", () => {
  const bytes = encodeManifest({ ...manifest, policy: "äöü" });
  assert.deepEqual(decodeManifest(bytes, path), { ...manifest, policy: "äöü" });
  for (const policy of [null, 5, {}]) {
    const wrong = encodeManifest({ ...manifest, policy: policy as unknown as string });
    assert.throws(() => decodeManifest(wrong, path), { code: "MANIFEST_CORRUPT" });
  }
});

test("a manifest with any bit flipped is corrupt", () => {
  const bytes = encodeManifest(manifest);
  for (let at = 0; at < bytes.length; at += 1) {
    for (let bit = 0; bit < 8; bit += 1) {
      const flipped = Buffer.from(bytes);
      flipped.writeUInt8(bytes.readUInt8(at) ^ (1 << bit), at);
      assertCorrupt(() => decodeManifest(flipped, path));
    }
  }
});

test("a manifest cut short anywhere, or with bytes behind it, is corrupt", () => {
  const bytes = encodeManifest(manifest);
  for (let end = 0; end < bytes.length; end += 1) assertCorrupt(() => decodeManifest(bytes.subarray(0, end), path));
  assertCorrupt(() => decodeManifest(Buffer.concat([bytes, Buffer.alloc(1)]), path));
  assertCorrupt(() => decodeManifest(Buffer.alloc(bytes.length), path));
});

test("an empty file is a corrupt manifest, not an empty one", async () => {
  const disk = await makeDisk();
  disk.open(path, "create").close();
  assertCorrupt(() => readManifest(disk, path));
});

test("a manifest larger than any can be is refused before it is read", async () => {
  const disk = await makeDisk();
  const size = disk.size.bind(disk);
  const huge: Disk = Object.assign(disk, { size: (name: string) => (name === path ? 2 ** 40 : size(name)) });
  assertCorrupt(() => readManifest(huge, path));
});

test("a manifest of a later version is unsupported, not corrupt", () => {
  const bytes = reseal(encodeManifest(manifest), (copy) => copy.writeUInt32LE(2, 12));
  assert.throws(() => decodeManifest(bytes, path), { code: "UNSUPPORTED_FORMAT" });
});

test("a manifest whose generation is zero or beyond 2^53-1 is corrupt", () => {
  assertCorrupt(() =>
    decodeManifest(
      reseal(encodeManifest(manifest), (copy) => writeUint64LE(copy, 0, 16)),
      path,
    ),
  );
  assertCorrupt(() =>
    decodeManifest(
      reseal(encodeManifest(manifest), (copy) => copy.fill(255, 16, 24)),
      path,
    ),
  );
});

const wrongBodies: readonly (readonly [string, unknown])[] = [
  ["no object", []],
  ["no storage id", { topics: [], deleted: [] }],
  ["a storage id that is none", body({ storageId: "x" })],
  ["no topics", { storageId: manifest.storageId, deleted: [] }],
  ["no deleted logs", { storageId: manifest.storageId, topics: [] }],
  ["an unknown field", body({ more: 1 })],
  ["a topic without a name", body({ topics: [topic({ name: "" })] })],
  ["a topic's unknown field", body({ topics: [topic({ more: 1 })] })],
  [
    "two topics of one name",
    body({ topics: [topic({}), topic({ uuid: uuid(8), partitions: [{ partition: 0, uuid: uuid(9) }] })] }),
  ],
  ["a topic without partitions", body({ topics: [topic({ partitions: [] })] })],
  ["a hole among partitions", body({ topics: [topic({ partitions: [{ partition: 1, uuid: uuid(2) }] })] })],
  ["a uuid that is a path", body({ topics: [topic({ partitions: [{ partition: 0, uuid: "../../etc" }] })] })],
  ["a uuid in capitals", body({ deleted: [uuid(10).replace("4000", "4ABC")] })],
  ["a uuid that stands there twice", body({ topics: [topic({})], deleted: [uuid(2)] })],
  ["no time of creation", body({ topics: [topic({ createdAt: 1.5 })] })],
  ["no settings", body({ topics: [topic({ settings: null })] })],
];

for (const [what, json] of wrongBodies) {
  test(`a manifest with ${what} is corrupt though its checksum matches`, () => {
    const text = Buffer.from(JSON.stringify(json));
    const bytes = Buffer.concat([encodeManifest(manifest).subarray(0, 32), text]);
    assertCorrupt(() =>
      decodeManifest(
        reseal(bytes, (copy) => writeUint64LE(copy, text.length, 24)),
        path,
      ),
    );
  });
}

test("a manifest whose text is no UTF-8 or no JSON is corrupt", () => {
  for (const text of [Buffer.from([0xff, 0xfe]), Buffer.from("{")]) {
    const bytes = Buffer.concat([encodeManifest(manifest).subarray(0, 32), text]);
    assertCorrupt(() =>
      decodeManifest(
        reseal(bytes, (copy) => writeUint64LE(copy, text.length, 24)),
        path,
      ),
    );
  }
});

test("a write that fails before the rename leaves the old manifest, and says so", async () => {
  for (const call of ["open", "writeSync", "datasync"] as const) {
    const disk = await makeDisk();
    await writeManifest(disk, path, manifest);
    const error = await rejectionOf(writeManifest(failingDisk(disk, call), path, { ...manifest, generation: 8 }));
    assert(isProglogError(error, "DISK_FULL"));
    assert.equal(error.details["isReplaced"], false);
    assert.equal(readManifest(disk, path)?.generation, 7);
    // What the failed write left behind is no obstacle to the next.
    await writeManifest(disk, path, { ...manifest, generation: 9 });
    assert.equal(readManifest(disk, path)?.generation, 9);
  }
});

test("a write that fails after the rename leaves open which manifest stands, and says so", async () => {
  const disk = await makeDisk();
  await writeManifest(disk, path, manifest);
  const error = await rejectionOf(writeManifest(failingDisk(disk, "syncDirectory"), path, { ...manifest, generation: 8 }));
  assert(isProglogError(error, "DISK_FULL"));
  assert.equal(error.details["isReplaced"], true);
});

function uuid(number: number): string {
  return `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;
}

function body(change: object): object {
  return { storageId: manifest.storageId, topics: [], deleted: [], ...change };
}

function topic(change: object): object {
  return {
    name: "orders",
    uuid: uuid(1),
    createdAt: 1,
    partitions: [{ partition: 0, uuid: uuid(2) }],
    settings: {},
    ...change,
  };
}

function assertCorrupt(run: () => unknown): void {
  assert.throws(run, (error) => isProglogError(error, "MANIFEST_CORRUPT") && error.message.includes(path));
}

/** Changes a copy and puts the right checksum on it. */
function reseal(bytes: Buffer, change: (copy: Buffer) => void): Buffer {
  const copy = Buffer.from(bytes);
  change(copy);
  copy.writeUInt32LE(crc32c(copy, 12), 8);
  return copy;
}

function rejectionOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error: unknown) => error,
  );
}

async function makeDisk(): Promise<Disk> {
  const disk = createMemoryDisk();
  await disk.makeDirectory("/data");
  return disk;
}

/** `disk`, but one kind of call finds it full. */
function failingDisk(disk: Disk, failing: "open" | "writeSync" | "datasync" | "syncDirectory"): Disk {
  const fail = (): never => {
    throw systemError("ENOSPC", failing, path);
  };
  return new Proxy(disk, {
    get(target, name) {
      if (name === failing) return fail;
      if (name !== "open") return bindMethod(target, name);
      return (...args: Parameters<Disk["open"]>) =>
        new Proxy(disk.open(...args), { get: (file, method) => (method === failing ? fail : bindMethod(file, method)) });
    },
  });
}

function bindMethod(target: object, name: string | symbol): unknown {
  const value: unknown = Reflect.get(target, name, target);
  return typeof value === "function" ? value.bind(target) : value;
}
