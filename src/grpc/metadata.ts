import { grpcMetadataMaxBytes, grpcMetadataMaxCount } from "../base/limits.ts";
import { GrpcStatusError } from "./grpc-status-error.ts";

/**
 * The headers and trailers of a call that are its users' own: names in lower case, values of printable ASCII, or of bytes where the
 * name ends in `-bin`. A name may stand more than once; order is kept. Names that HTTP/2 and gRPC need for themselves are refused,
 * and so is what wouldn't fit: a value is checked when it is set, not when the call is under way.
 */
export class Metadata {
  /** Name, value, name, value …, with binary values in base64: as HTTP/2 carries them. */
  readonly #raw: string[] = [];
  #bytes = 0;

  /** Metadata from an object: a list sets the name once for each of its values. */
  static of(values: MetadataValues): Metadata {
    const metadata = new Metadata();
    for (const [name, value] of Object.entries(values))
      for (const one of Array.isArray(value) ? (value as readonly (string | Uint8Array)[]) : [value as string | Uint8Array])
        metadata.append(name, one);
    return metadata;
  }

  /** What of a block of headers isn't HTTP/2's or gRPC's own. Its size was bounded when it was received. */
  static fromRawHeaders(rawHeaders: readonly string[]): Metadata {
    const metadata = new Metadata();
    for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
      const name = rawHeaders[at] ?? "";
      if (isReserved(name) && name !== "user-agent") continue;
      const value = rawHeaders[at + 1] ?? "";
      metadata.#raw.push(name, value);
      metadata.#bytes += name.length + value.length + entryOverheadBytes;
    }
    return metadata;
  }

  get isEmpty(): boolean {
    return this.#raw.length === 0;
  }

  /** The names that are set, each once, in the order of their first setting. */
  names(): string[] {
    return [...new Set(this.#raw.filter((_, position) => position % 2 === 0))];
  }

  /** The first value of a name, as text; a binary one in base64. */
  get(name: string): string | undefined {
    return this.getAll(name)[0];
  }

  getAll(name: string): string[] {
    const wanted = name.toLowerCase();
    return this.#raw.filter((_, position) => position % 2 === 1 && this.#raw[position - 1] === wanted);
  }

  /** The first value of a binary name. */
  getBytes(name: string): Buffer | undefined {
    return this.getAllBytes(name)[0];
  }

  /** Several values may also come as one, with commas between them. */
  getAllBytes(name: string): Buffer[] {
    return this.getAll(name).flatMap((text) => text.split(",").map((one) => Buffer.from(one.trim(), "base64")));
  }

  /** Puts a value in the place of all that the name had. */
  set(name: string, value: string | Uint8Array): void {
    this.remove(name);
    this.append(name, value);
  }

  /** Throws INVALID_ARGUMENT for a name or value that can't travel, and RESOURCE_EXHAUSTED for one too many. */
  append(name: string, value: string | Uint8Array): void {
    const lower = name.toLowerCase();
    const text = checkedValue(lower, value);
    const bytes = lower.length + text.length + entryOverheadBytes;
    if (this.#raw.length / 2 >= grpcMetadataMaxCount || this.#bytes + bytes > grpcMetadataMaxBytes)
      throw new GrpcStatusError(
        "RESOURCE_EXHAUSTED",
        `Cannot set metadata ${lower}: a call carries at most ${grpcMetadataMaxCount} entries of ${grpcMetadataMaxBytes} bytes`,
      );
    this.#raw.push(lower, text);
    this.#bytes += bytes;
  }

  remove(name: string): void {
    const wanted = name.toLowerCase();
    for (let at = this.#raw.length - 2; at >= 0; at -= 2) {
      if (this.#raw[at] !== wanted) continue;
      const [, text = ""] = this.#raw.splice(at, 2);
      this.#bytes -= wanted.length + text.length + entryOverheadBytes;
    }
  }

  /** Appends all of another's. False when that wouldn't fit; then nothing is appended. */
  tryAppendAll(other: Metadata): boolean {
    const isFitting =
      (this.#raw.length + other.#raw.length) / 2 <= grpcMetadataMaxCount && this.#bytes + other.#bytes <= grpcMetadataMaxBytes;
    if (!isFitting) return false;
    this.#raw.push(...other.#raw);
    this.#bytes += other.#bytes;
    return true;
  }

  /** Adds all that is here to an object of headers. */
  addTo(headers: Record<string, string | string[]>): void {
    for (let at = 0; at < this.#raw.length; at += 2) {
      const name = this.#raw[at] ?? "";
      const value = this.#raw[at + 1] ?? "";
      const there = headers[name];
      if (there === undefined) headers[name] = value;
      else if (typeof there === "string") headers[name] = [there, value];
      else there.push(value);
    }
  }
}

export type MetadataValues = Readonly<Record<string, string | Uint8Array | readonly (string | Uint8Array)[]>>;

/** What HTTP/2 counts for an entry besides its bytes (RFC 9113 §6.5.2). */
const entryOverheadBytes = 32;

function checkedValue(name: string, value: string | Uint8Array): string {
  const refuse = (why: string): GrpcStatusError =>
    new GrpcStatusError("INVALID_ARGUMENT", `Cannot set metadata ${name}: ${why}`);
  if (!/^[0-9a-z_.-]+$/.test(name)) throw refuse("a name is of a-z, 0-9, '-', '_' and '.'");
  if (isReserved(name)) throw refuse("the name is HTTP/2's or gRPC's own");
  if (name.endsWith("-bin")) {
    if (typeof value === "string") throw refuse("a name that ends in -bin has bytes as its value");
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64").replace(/=+$/, "");
  }
  if (typeof value !== "string") throw refuse("only a name that ends in -bin has bytes as its value");
  // Spaces at its ends don't count for HTTP, and a strict receiver refuses them.
  const trimmed = value.trim();
  if (!/^[ -~]*$/.test(trimmed)) throw refuse("a value is of printable ASCII");
  return trimmed;
}

function isReserved(name: string): boolean {
  return name.startsWith(":") || name.startsWith("grpc-") || ownNames.has(name);
}

const ownNames = new Set([
  "connection",
  "content-length",
  "content-type",
  "date",
  "host",
  "http2-settings",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "user-agent",
]);
