import { ProglogError } from "../base/error.ts";

/**
 * What a node answers to who makes a backup of it (docs/backup.md), as JSON: the topics, and of each partition what its log is made of.
 * The bytes of stores come as they are. Read here as strictly as a file is: what stands in a backup must not be what an answer happened
 * to hold.
 */
export interface BackupTopics {
  /** 32 hex digits of the node's directory. */
  readonly storageId: string;
  /** Of the cluster; null on a single node. */
  readonly clusterId: string | null;
  readonly topics: readonly BackupTopic[];
}

export interface BackupTopic {
  readonly name: string;
  readonly uuid: string;
  readonly createdAt: number;
  readonly replicationFactor: number;
  /** What is set for it. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Their logs' uuids, in order. */
  readonly partitions: readonly string[];
}

export interface BackupLog {
  readonly uuid: string;
  readonly version: string;
  readonly logId: string;
  readonly baseRecord: Buffer;
  readonly baseIndex: number;
  readonly logStartOffset: number;
  readonly lastIndex: number;
  readonly nextOffset: number;
  readonly isCompacted: boolean;
}

export interface BackupSegment {
  readonly baseIndex: number;
  readonly lastIndex: number;
  readonly bytes: number;
  readonly isSealed: boolean;
  readonly end?: BackupSegmentEnd;
}

export interface BackupSegmentEnd {
  readonly lastTerm: number;
  readonly nextOffset: number;
  readonly lastAppendTime: number;
}

export function formatBackupLog({ baseRecord, ...log }: BackupLog): object {
  return { ...log, baseRecord: baseRecord.toString("base64") };
}

/** Throws INVALID_ARGUMENT, as all here do, for what isn't an answer of ours. */
export function parseBackupTopics(text: string): BackupTopics {
  const fields = new Fields(parse(text));
  const topics = fields.list("topics").map((entry) => {
    const topic = new Fields(entry);
    const settings = topic.object("settings");
    return {
      name: topic.text("name", /^[A-Za-z0-9._-]{1,249}$/),
      uuid: topic.text("uuid", uuidPattern),
      createdAt: topic.integer("createdAt"),
      replicationFactor: topic.integer("replicationFactor"),
      settings,
      partitions: topic.list("partitions").map((uuid) => checkText(uuid, "a partition", uuidPattern)),
    };
  });
  const clusterId = fields.optionalText("clusterId", hexPattern);
  return { storageId: fields.text("storageId", hexPattern), clusterId: clusterId ?? null, topics };
}

export function parseBackupLog(text: string): BackupLog {
  const fields = new Fields(parse(text));
  return {
    uuid: fields.text("uuid", uuidPattern),
    version: fields.text("version", /^[0-9a-z-]{1,80}$/),
    logId: fields.text("logId", hexPattern),
    baseRecord: Buffer.from(fields.text("baseRecord", /^[A-Za-z0-9+/=]+$/), "base64"),
    baseIndex: fields.integer("baseIndex"),
    logStartOffset: fields.integer("logStartOffset"),
    lastIndex: fields.integer("lastIndex"),
    nextOffset: fields.integer("nextOffset"),
    isCompacted: fields.flag("isCompacted"),
  };
}

export function parseBackupSegments(text: string): readonly BackupSegment[] {
  return new Fields(parse(text)).list("segments").map((entry) => {
    const fields = new Fields(entry);
    const segment = {
      baseIndex: fields.integer("baseIndex"),
      lastIndex: fields.integer("lastIndex"),
      bytes: fields.integer("bytes"),
      isSealed: fields.flag("isSealed"),
    };
    if (!segment.isSealed) return segment;
    const end = new Fields(fields.object("end"));
    const [lastTerm, nextOffset] = [end.integer("lastTerm"), end.integer("nextOffset")];
    return { ...segment, end: { lastTerm, nextOffset, lastAppendTime: end.integer("lastAppendTime") } };
  });
}

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const hexPattern = /^[0-9a-f]{32}$/;

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw malformed("it isn't JSON", error);
  }
}

class Fields {
  readonly #fields: Readonly<Record<string, unknown>>;

  constructor(value: unknown) {
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw malformed("there is no object where one should be");
    this.#fields = value as Readonly<Record<string, unknown>>;
  }

  text(name: string, pattern: RegExp): string {
    return checkText(this.#fields[name], name, pattern);
  }

  optionalText(name: string, pattern: RegExp): string | undefined {
    const value = this.#fields[name];
    return value === undefined || value === null ? undefined : checkText(value, name, pattern);
  }

  integer(name: string): number {
    const value = this.#fields[name];
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
    throw malformed(`${name} is no number from 0 to 2^53-1`);
  }

  flag(name: string): boolean {
    const value = this.#fields[name];
    if (typeof value === "boolean") return value;
    throw malformed(`${name} is neither true nor false`);
  }

  list(name: string): readonly unknown[] {
    const value = this.#fields[name];
    if (Array.isArray(value)) return value;
    throw malformed(`${name} is no list`);
  }

  object(name: string): Readonly<Record<string, unknown>> {
    const value = this.#fields[name];
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Readonly<Record<string, unknown>>;
    throw malformed(`${name} is no object`);
  }
}

function checkText(value: unknown, name: string, pattern: RegExp): string {
  if (typeof value === "string" && pattern.test(value)) return value;
  throw malformed(`${name} isn't what it should be`);
}

function malformed(reason: string, cause?: unknown): ProglogError {
  return new ProglogError("INVALID_ARGUMENT", `Cannot read what the server says of its logs: ${reason}`, {
    hint: "Is it a proglog server, of this release or a later one?",
    cause,
  });
}
