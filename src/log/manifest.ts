import { dirname } from "node:path";
import { readUint64LE, writeUint64LE } from "../base/bytes.ts";
import { type Disk, systemErrorCode } from "../base/disk.ts";
import { messageOf, ProglogError } from "../base/error.ts";
import { manifestMaxBytes } from "../base/limits.ts";
import { crc32c } from "../batch/crc32c.ts";

/**
 * What a single node knows of its topics, in one checksummed file that is replaced whole (docs/format.md). It alone says which
 * log directories hold a partition, so the way it fails matters most: a manifest that can't be read stops the node. Were it
 * taken for an empty one, every topic would be gone and the next produce would begin at offset 0 beside the old records.
 *
 *     0        8     12        16           24           32
 *    ┌────────┬─────┬─────────┬────────────┬────────────┬──────────────┐
 *    │ magic  │ crc │ version │ generation │ JSON bytes │ JSON (UTF-8) │
 *    └────────┴─────┴─────────┴────────────┴────────────┴──────────────┘
 */
export interface Manifest {
  /** Counts up with each change, from 1. */
  readonly generation: number;
  /** 32 hex digits, made with the data directory and never again: which disk this is. */
  readonly storageId: string;
  readonly topics: readonly ManifestTopic[];
  /** Logs whose deletion is decided and maybe not finished: by these uuids, and by nothing else, files are removed. */
  readonly deleted: readonly string[];
}

export interface ManifestTopic {
  readonly name: string;
  readonly uuid: string;
  readonly createdAt: number;
  /** In order, numbered from 0 without a hole. */
  readonly partitions: readonly ManifestPartition[];
  readonly settings: Readonly<Record<string, unknown>>;
}

export interface ManifestPartition {
  readonly partition: number;
  readonly uuid: string;
}

export const manifestName = "manifest";

const magic = Buffer.from("PLMANIF1", "latin1");
const version = 1;
const headBytes = 32;

/** The manifest at `path`, or undefined when there is no such file. Throws MANIFEST_CORRUPT, or UNSUPPORTED_FORMAT for a later version's. */
export function readManifest(disk: Disk, path: string): Manifest | undefined {
  const bytes = disk.size(path);
  if (bytes === undefined) return undefined;
  if (bytes > manifestMaxBytes) throw corrupt(path, `it has ${bytes} bytes, and at most ${manifestMaxBytes} are possible`);
  const buffer = Buffer.alloc(bytes);
  let read: number;
  try {
    const file = disk.open(path, "read");
    try {
      read = file.readSync(buffer, 0);
    } finally {
      file.close();
    }
  } catch (error) {
    throw new ProglogError("DISK_FAILED", `Cannot read the manifest ${path}: ${messageOf(error)}`, { cause: error });
  }
  return decodeManifest(buffer.subarray(0, read), path);
}

/**
 * Puts `manifest` in the place of the one at `path`, durably. When it throws DISK_FULL or DISK_FAILED, `details.isReplaced` says
 * whether the new one may be found at the next start: false, the old one stands; true, it can't be known.
 */
export async function writeManifest(disk: Disk, path: string, manifest: Manifest): Promise<void> {
  const temporaryPath = `${path}.tmp`;
  const bytes = encodeManifest(manifest);
  let isReplaced = false;
  try {
    disk.remove(temporaryPath);
    const file = disk.open(temporaryPath, "create");
    try {
      file.writeSync([bytes], 0);
      await file.datasync();
    } finally {
      file.close();
    }
    // From here on an error leaves open which of the two a restart finds.
    isReplaced = true;
    disk.rename(temporaryPath, path);
    await disk.syncDirectory(dirname(path));
  } catch (error) {
    const isFull = ["ENOSPC", "EDQUOT"].includes(systemErrorCode(error) ?? "");
    throw new ProglogError(isFull ? "DISK_FULL" : "DISK_FAILED", `Cannot write the manifest ${path}: ${messageOf(error)}`, {
      details: { isReplaced },
      cause: error,
    });
  }
}

export function encodeManifest(manifest: Manifest): Buffer {
  const { storageId, topics, deleted } = manifest;
  const json = Buffer.from(JSON.stringify({ storageId, topics, deleted }));
  const buffer = Buffer.alloc(headBytes + json.length);
  magic.copy(buffer, 0);
  buffer.writeUInt32LE(version, 12);
  writeUint64LE(buffer, manifest.generation, 16);
  writeUint64LE(buffer, json.length, 24);
  json.copy(buffer, headBytes);
  buffer.writeUInt32LE(crc32c(buffer, 12), 8);
  return buffer;
}

/** `path` is for the errors only. */
export function decodeManifest(buffer: Buffer, path: string): Manifest {
  if (buffer.length < headBytes) throw corrupt(path, `it has ${buffer.length} bytes, and its head alone takes ${headBytes}`);
  if (!buffer.subarray(0, 8).equals(magic)) throw corrupt(path, "it doesn't begin as one");
  if (buffer.readUInt32LE(8) !== crc32c(buffer, 12)) throw corrupt(path, "its checksum doesn't match");
  const found = buffer.readUInt32LE(12);
  if (found !== version) {
    throw new ProglogError(
      "UNSUPPORTED_FORMAT",
      `Cannot read the manifest ${path}: it is of version ${found}, and ${version} is known`,
      {
        hint: "Start the release of proglog that wrote it, or a later one.",
      },
    );
  }
  const generation = readUint64LE(buffer, 16);
  if (!Number.isSafeInteger(generation) || generation < 1)
    throw corrupt(path, "its generation isn't a number from 1 to 2^53-1");
  const jsonBytes = readUint64LE(buffer, 24);
  if (jsonBytes !== buffer.length - headBytes)
    throw corrupt(path, `it should hold ${jsonBytes} bytes of JSON, and holds ${buffer.length - headBytes}`);
  return { generation, ...parseBody(buffer.subarray(headBytes), path) };
}

function parseBody(json: Buffer, path: string): Omit<Manifest, "generation"> {
  let body: unknown;
  try {
    body = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(json));
  } catch (error) {
    throw corrupt(path, messageOf(error), error);
  }
  const checks = new BodyChecks(path);
  const { storageId, topics, deleted } = checks.fields(body, ["storageId", "topics", "deleted"], "its body");
  if (typeof storageId !== "string" || !storageIdPattern.test(storageId))
    throw corrupt(path, "its storage id isn't 32 hex digits");
  return {
    storageId,
    topics: checks.array(topics, "its topics").map((topic) => checks.topic(topic)),
    deleted: checks.array(deleted, "its deleted logs").map((uuid) => checks.uuid(uuid, "a deleted log")),
  };
}

const storageIdPattern = /^[0-9a-f]{32}$/;
const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/**
 * The checksum has held, so what fails here was written wrong. It is checked all the same: a uuid becomes a directory's name, and
 * one that stands twice would give two partitions one log, or delete the log of a living one.
 */
class BodyChecks {
  readonly #path: string;
  readonly #names = new Set<string>();
  readonly #uuids = new Set<string>();

  constructor(path: string) {
    this.#path = path;
  }

  topic(value: unknown): ManifestTopic {
    const { name, uuid, createdAt, partitions, settings } = this.fields(
      value,
      ["name", "uuid", "createdAt", "partitions", "settings"],
      "a topic",
    );
    if (typeof name !== "string" || name === "") throw corrupt(this.#path, "a topic has no name");
    if (this.#names.has(name)) throw corrupt(this.#path, `it has two topics ${name}`);
    this.#names.add(name);
    if (!Number.isSafeInteger(createdAt)) throw corrupt(this.#path, `the topic ${name} has no time of creation`);
    if (!isObject(settings)) throw corrupt(this.#path, `the topic ${name} has no settings`);
    const list = this.array(partitions, `the partitions of topic ${name}`);
    if (list.length === 0) throw corrupt(this.#path, `the topic ${name} has no partition`);
    return {
      name,
      uuid: this.uuid(uuid, `the topic ${name}`),
      createdAt: createdAt as number,
      partitions: list.map((entry, expected) => {
        const fields = this.fields(entry, ["partition", "uuid"], `a partition of topic ${name}`);
        if (fields["partition"] !== expected)
          throw corrupt(this.#path, `partition ${expected} of topic ${name} isn't in its place`);
        return { partition: expected, uuid: this.uuid(fields["uuid"], `partition ${expected} of topic ${name}`) };
      }),
      settings,
    };
  }

  uuid(value: unknown, owner: string): string {
    if (typeof value !== "string" || !uuidPattern.test(value)) throw corrupt(this.#path, `${owner} has no valid uuid`);
    if (this.#uuids.has(value)) throw corrupt(this.#path, `the uuid of ${owner} stands there twice`);
    this.#uuids.add(value);
    return value;
  }

  array(value: unknown, what: string): readonly unknown[] {
    if (!Array.isArray(value)) throw corrupt(this.#path, `${what} are no list`);
    return value;
  }

  /** Exactly these fields: one more would be lost by the next write, so a later format that adds one raises the version. */
  fields<Name extends string>(value: unknown, names: readonly Name[], what: string): Record<Name, unknown> {
    if (!isObject(value)) throw corrupt(this.#path, `${what} is no object`);
    for (const name of Object.keys(value)) {
      if (!(names as readonly string[]).includes(name))
        throw corrupt(this.#path, `${what} has an unknown field ${JSON.stringify(name)}`);
    }
    return value;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function corrupt(path: string, reason: string, cause?: unknown): ProglogError {
  return new ProglogError("MANIFEST_CORRUPT", `Cannot read the manifest ${path}: ${reason}`, {
    hint: "The logs are untouched. Put back a copy of the manifest; it is never taken for an empty one.",
    details: { file: path },
    cause,
  });
}
