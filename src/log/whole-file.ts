import { dirname } from "node:path";
import { readUint64LE, writeUint64LE } from "../base/bytes.ts";
import { type Disk, systemErrorCode } from "../base/disk.ts";
import { messageOf, ProglogError } from "../base/error.ts";
import { KiB } from "../base/units.ts";
import { writeNewFile } from "../base/write-new-file.ts";
import { crc32c } from "../batch/crc32c.ts";

/**
 * A small checksummed file of JSON that is replaced whole, never changed in place: written beside itself, synced, renamed, the
 * directory synced. So a crash leaves the old one or the new one. What can't be read is an error, never the same as no file.
 *
 *     0        8     12        16           24           32
 *    ┌────────┬─────┬─────────┬────────────┬────────────┬──────────────┐
 *    │ magic  │ crc │ version │ generation │ JSON bytes │ JSON (UTF-8) │
 *    └────────┴─────┴─────────┴────────────┴────────────┴──────────────┘
 */
export interface WholeFileFormat {
  /** As errors call it: "manifest". */
  readonly noun: string;
  /** 8 characters. */
  readonly magic: string;
  readonly version: number;
  readonly maxBytes: number;
  /** What to do about one that can't be read. */
  readonly corruptHint: string;
  /** Room is kept beside it for the next one, in a file that ends with `.spare`. Default false. */
  readonly keepsRoom?: boolean;
}

export interface WholeFile {
  /** Counts up with each change, from 1. */
  readonly generation: number;
  /** What JSON says. */
  readonly body: unknown;
}

export const wholeFileHeadBytes = 32;

/** The file at `path`, or undefined when there is none. Throws MANIFEST_CORRUPT, or UNSUPPORTED_FORMAT for a later version's. */
export function readWholeFile(disk: Disk, path: string, format: WholeFileFormat): WholeFile | undefined {
  const { noun, maxBytes } = format;
  const bytes = disk.size(path);
  if (bytes === undefined) return undefined;
  const corrupt = corruptFile(path, format);
  if (bytes > maxBytes) throw corrupt(`it has ${bytes} bytes, and at most ${maxBytes} are possible`);
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
    throw new ProglogError("DISK_FAILED", `Cannot read the ${noun} ${path}: ${messageOf(error)}`, { cause: error });
  }
  return decodeWholeFile(buffer.subarray(0, read), path, format);
}

/**
 * Puts a file in the place of the one at `path`, durably. When it throws DISK_FULL or DISK_FAILED, or OVERLOADED for more than can be
 * read again, `details.isReplaced` says whether the new one may be found at the next start: false, the old one stands; true, it can't
 * be known.
 */
export async function writeWholeFile(
  disk: Disk,
  path: string,
  { noun, maxBytes, keepsRoom = false }: WholeFileFormat,
  bytes: Buffer,
): Promise<void> {
  if (bytes.length > maxBytes)
    throw new ProglogError(
      "OVERLOADED",
      `Cannot write the ${noun} ${path}: it would have ${bytes.length} bytes, and at most ${maxBytes} are read again`,
      { details: { isReplaced: false } },
    );
  const temporaryPath = `${path}.tmp`;
  let isReplaced = false;
  try {
    try {
      await writeNewFile(disk, temporaryPath, bytes);
    } catch (error) {
      if (!isNoRoom(error) || !giveUpSpare(disk, path)) throw error;
      await writeNewFile(disk, temporaryPath, bytes);
    }
    // From here on an error leaves open which of the two a restart finds.
    isReplaced = true;
    disk.rename(temporaryPath, path);
    await disk.syncDirectory(dirname(path));
  } catch (error) {
    throw new ProglogError(
      isNoRoom(error) ? "DISK_FULL" : "DISK_FAILED",
      `Cannot write the ${noun} ${path}: ${messageOf(error)}`,
      {
        details: { isReplaced },
        cause: error,
      },
    );
  }
  if (keepsRoom) keepSpare(disk, path, bytes.length);
}

function isNoRoom(error: unknown): boolean {
  return ["ENOSPC", "EDQUOT"].includes(systemErrorCode(error) ?? "");
}

/** Whether there was room kept beside a file, which a new one may take: it is free now. */
function giveUpSpare(disk: Disk, path: string): boolean {
  const sparePath = `${path}${spareSuffix}`;
  if (disk.size(sparePath) === undefined) return false;
  disk.remove(sparePath);
  return true;
}

/**
 * Keeps room for the next one: on a full disk it is by writing this file that a topic is deleted, and room made. It is a reserve, nothing more:
 * neither is it synced, nor does it matter when there is none for it.
 */
function keepSpare(disk: Disk, path: string, byteLength: number): void {
  const sparePath = `${path}${spareSuffix}`;
  const wanted = (Math.ceil(byteLength / spareStepBytes) + 1) * spareStepBytes;
  try {
    const size = disk.size(sparePath);
    if (size !== undefined && size >= wanted) return;
    const file = disk.open(sparePath, size === undefined ? "create" : "write");
    try {
      file.writeSync([Buffer.alloc(wanted - (size ?? 0))], size ?? 0);
    } finally {
      file.close();
    }
  } catch {
    // The disk is full, or fails at what nobody needs yet. It is tried again with the next one.
  }
}

const spareSuffix = ".spare";
const spareStepBytes = 4 * KiB;

export function encodeWholeFile({ generation, body }: WholeFile, { magic, version }: WholeFileFormat): Buffer {
  const json = Buffer.from(JSON.stringify(body));
  const buffer = Buffer.alloc(wholeFileHeadBytes + json.length);
  buffer.write(magic, 0, "latin1");
  buffer.writeUInt32LE(version, 12);
  writeUint64LE(buffer, generation, 16);
  writeUint64LE(buffer, json.length, 24);
  json.copy(buffer, wholeFileHeadBytes);
  buffer.writeUInt32LE(crc32c(buffer, 12), 8);
  return buffer;
}

/** `path` is for the errors only. */
export function decodeWholeFile(buffer: Buffer, path: string, format: WholeFileFormat): WholeFile {
  const { noun, magic, version } = format;
  const corrupt = corruptFile(path, format);
  if (buffer.length < wholeFileHeadBytes)
    throw corrupt(`it has ${buffer.length} bytes, and its head alone takes ${wholeFileHeadBytes}`);
  if (buffer.toString("latin1", 0, 8) !== magic) throw corrupt("it doesn't begin as one");
  if (buffer.readUInt32LE(8) !== crc32c(buffer, 12)) throw corrupt("its checksum doesn't match");
  const found = buffer.readUInt32LE(12);
  if (found !== version) {
    throw new ProglogError(
      "UNSUPPORTED_FORMAT",
      `Cannot read the ${noun} ${path}: it is of version ${found}, and ${version} is known`,
      {
        hint: "Start the release of proglog that wrote it, or a later one.",
      },
    );
  }
  const generation = readUint64LE(buffer, 16);
  if (!Number.isSafeInteger(generation) || generation < 1) throw corrupt("its generation isn't a number from 1 to 2^53-1");
  const jsonBytes = readUint64LE(buffer, 24);
  if (jsonBytes !== buffer.length - wholeFileHeadBytes)
    throw corrupt(`it should hold ${jsonBytes} bytes of JSON, and holds ${buffer.length - wholeFileHeadBytes}`);
  try {
    return {
      generation,
      body: JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(buffer.subarray(wholeFileHeadBytes))),
    };
  } catch (error) {
    throw corrupt(messageOf(error), error);
  }
}

/** Makes the errors of a file that is there and can't be what it should be. */
export type CorruptFile = (reason: string, cause?: unknown) => ProglogError;

export function corruptFile(path: string, { noun, corruptHint }: WholeFileFormat): CorruptFile {
  return (reason, cause) =>
    new ProglogError("MANIFEST_CORRUPT", `Cannot read the ${noun} ${path}: ${reason}`, {
      hint: corruptHint,
      details: { file: path },
      cause,
    });
}

/** An object with no fields but these: one more would be lost by the next write, so a later format that adds one raises the version. */
export function checkFields<Name extends string>(
  value: unknown,
  names: readonly Name[],
  what: string,
  corrupt: CorruptFile,
): Record<Name, unknown> {
  if (!isObject(value)) throw corrupt(`${what} is no object`);
  for (const name of Object.keys(value)) {
    if (!(names as readonly string[]).includes(name)) throw corrupt(`${what} has an unknown field ${JSON.stringify(name)}`);
  }
  return value;
}

export function checkList(value: unknown, what: string, corrupt: CorruptFile): readonly unknown[] {
  if (!Array.isArray(value)) throw corrupt(`${what} are no list`);
  return value;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
