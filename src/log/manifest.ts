import type { Disk } from "../base/disk.ts";
import { manifestMaxBytes } from "../base/limits.ts";
import {
  checkFields,
  checkList,
  type CorruptFile,
  corruptFile,
  decodeWholeFile,
  encodeWholeFile,
  isObject,
  readWholeFile,
  type WholeFile,
  type WholeFileFormat,
  writeWholeFile,
} from "./whole-file.ts";

/**
 * What a single node knows of its topics, in one checksummed file that is replaced whole (docs/format.md). It alone says which
 * log directories hold a partition, so the way it fails matters most: a manifest that can't be read stops the node. Were it
 * taken for an empty one, every topic would be gone and the next produce would begin at offset 0 beside the old records.
 */
export interface Manifest {
  /** Counts up with each change, from 1. */
  readonly generation: number;
  /** 32 hex digits, made with the data directory and never again: which disk this is. */
  readonly storageId: string;
  readonly topics: readonly ManifestTopic[];
  /** Who may do what, as a text. Absent where nobody ever said. */
  readonly policy?: string;
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

const manifestFormat: WholeFileFormat = {
  noun: "manifest",
  magic: "PLMANIF1",
  version: 1,
  maxBytes: manifestMaxBytes,
  keepsRoom: true,
  corruptHint: "The logs are untouched. Put back a copy of the manifest; it is never taken for an empty one.",
};

/** The manifest at `path`, or undefined when there is no such file. Throws MANIFEST_CORRUPT, or UNSUPPORTED_FORMAT for a later version's. */
export function readManifest(disk: Disk, path: string): Manifest | undefined {
  const file = readWholeFile(disk, path, manifestFormat);
  return file === undefined ? undefined : parseManifest(file, path);
}

/** Durably. Throws DISK_FULL or DISK_FAILED as `writeWholeFile` does. */
export async function writeManifest(disk: Disk, path: string, manifest: Manifest): Promise<void> {
  await writeWholeFile(disk, path, manifestFormat, encodeManifest(manifest));
}

export function encodeManifest({ generation, storageId, topics, deleted, policy }: Manifest): Buffer {
  const body = { storageId, topics, deleted, ...(policy === undefined ? {} : { policy }) };
  return encodeWholeFile({ generation, body }, manifestFormat);
}

/** `path` is for the errors only. */
export function decodeManifest(buffer: Buffer, path: string): Manifest {
  return parseManifest(decodeWholeFile(buffer, path, manifestFormat), path);
}

function parseManifest({ generation, body }: WholeFile, path: string): Manifest {
  const corrupt = corruptFile(path, manifestFormat);
  const checks = new BodyChecks(corrupt);
  const fields = checkFields(body, ["storageId", "topics", "deleted", "policy"], "its body", corrupt);
  const { storageId, topics, deleted, policy } = fields;
  if (typeof storageId !== "string" || !storageIdPattern.test(storageId)) throw corrupt("its storage id isn't 32 hex digits");
  // One that can't be read must not pass for none: everything would be open.
  if (Object.hasOwn(fields, "policy") && typeof policy !== "string") throw corrupt("its access policy is no text");
  return {
    generation,
    storageId,
    ...(typeof policy === "string" ? { policy } : {}),
    topics: checkList(topics, "its topics", corrupt).map((topic) => checks.topic(topic)),
    deleted: checkList(deleted, "its deleted logs", corrupt).map((uuid) => checks.uuid(uuid, "a deleted log")),
  };
}

const storageIdPattern = /^[0-9a-f]{32}$/;
const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/**
 * The checksum has held, so what fails here was written wrong. It is checked all the same: a uuid becomes a directory's name, and
 * one that stands twice would give two partitions one log, or delete the log of a living one.
 */
class BodyChecks {
  readonly #corrupt: CorruptFile;
  readonly #names = new Set<string>();
  readonly #uuids = new Set<string>();

  constructor(corrupt: CorruptFile) {
    this.#corrupt = corrupt;
  }

  topic(value: unknown): ManifestTopic {
    const corrupt = this.#corrupt;
    const { name, uuid, createdAt, partitions, settings } = checkFields(
      value,
      ["name", "uuid", "createdAt", "partitions", "settings"],
      "a topic",
      corrupt,
    );
    if (typeof name !== "string" || name === "") throw corrupt("a topic has no name");
    if (this.#names.has(name)) throw corrupt(`it has two topics ${name}`);
    this.#names.add(name);
    if (!Number.isSafeInteger(createdAt)) throw corrupt(`the topic ${name} has no time of creation`);
    if (!isObject(settings)) throw corrupt(`the topic ${name} has no settings`);
    const list = checkList(partitions, `the partitions of topic ${name}`, corrupt);
    if (list.length === 0) throw corrupt(`the topic ${name} has no partition`);
    return {
      name,
      uuid: this.uuid(uuid, `the topic ${name}`),
      createdAt: createdAt as number,
      partitions: list.map((entry, expected) => {
        const fields = checkFields(entry, ["partition", "uuid"], `a partition of topic ${name}`, corrupt);
        if (fields["partition"] !== expected) throw corrupt(`partition ${expected} of topic ${name} isn't in its place`);
        return { partition: expected, uuid: this.uuid(fields["uuid"], `partition ${expected} of topic ${name}`) };
      }),
      settings,
    };
  }

  uuid(value: unknown, owner: string): string {
    if (typeof value !== "string" || !uuidPattern.test(value)) throw this.#corrupt(`${owner} has no valid uuid`);
    if (this.#uuids.has(value)) throw this.#corrupt(`the uuid of ${owner} stands there twice`);
    this.#uuids.add(value);
    return value;
  }
}
