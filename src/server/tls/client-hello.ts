import { clientHelloMaxBytes } from "../../base/security-limits.ts";

/**
 * What a TLS connection's first message asks for, before any of it is answered: which protocols it would speak inside (ALPN). By that it
 * is told whether a peer or a client is there, and so by which certificates the connection is judged. It is only a question: what is
 * agreed in the end, under the handshake's own checks, is held against it.
 *
 * `undecided` asks for more bytes; `unknown` is no such message, or one beyond `clientHelloMaxBytes`.
 */
export function readClientHello(received: Buffer): ClientHello | "undecided" | "unknown" {
  try {
    const message = gatherMessage(received);
    return message === undefined ? undecidedOf(received) : { protocols: readProtocols(message) };
  } catch (error) {
    if (error instanceof HelloError) return "unknown";
    throw error;
  }
}

export interface ClientHello {
  /** In the order of the client's liking; none where it doesn't say. */
  readonly protocols: readonly string[];
}

class HelloError extends Error {}

function undecidedOf(received: Buffer): "undecided" | "unknown" {
  return received.length >= clientHelloMaxBytes ? "unknown" : "undecided";
}

/** The body of the ClientHello, out of as many records as it lies in; undefined while some of it is missing. */
function gatherMessage(received: Buffer): Buffer | undefined {
  const pieces: Buffer[] = [];
  let gathered = 0;
  let wanted: number | undefined;
  for (let position = 0; position < received.length; ) {
    if (received[position] !== tlsFirstByte) throw new HelloError();
    if (position + 1 < received.length && received[position + 1] !== majorVersion) throw new HelloError();
    if (position + recordHeadBytes > received.length) return undefined;
    const length = received.readUInt16BE(position + 3);
    if (length === 0 || length > recordMaxBytes) throw new HelloError();
    const start = position + recordHeadBytes;
    const piece = received.subarray(start, Math.min(start + length, received.length));
    pieces.push(piece);
    gathered += piece.length;
    if (wanted === undefined && gathered > 0) {
      const head = Buffer.concat(pieces);
      if (head[0] !== clientHelloType) throw new HelloError();
      if (head.length >= messageHeadBytes) {
        wanted = messageHeadBytes + head.readUIntBE(1, 3);
        if (wanted > clientHelloMaxBytes) throw new HelloError();
      }
    }
    if (wanted !== undefined && gathered >= wanted) return Buffer.concat(pieces).subarray(messageHeadBytes, wanted);
    position = start + length;
  }
  return undefined;
}

function readProtocols(message: Buffer): readonly string[] {
  const reader = new HelloReader(message);
  reader.take(2 + 32); // the version of old, random bytes
  reader.take(reader.number(1)); // the session's id
  reader.take(reader.number(2)); // ciphers
  reader.take(reader.number(1)); // compressions
  if (reader.isAtEnd) return [];
  const extensions = new HelloReader(reader.take(reader.number(2)));
  if (!reader.isAtEnd) throw new HelloError();
  while (!extensions.isAtEnd) {
    const type = extensions.number(2);
    const content = extensions.take(extensions.number(2));
    if (type === protocolsType) return readNames(content);
  }
  return [];
}

function readNames(content: Buffer): readonly string[] {
  const reader = new HelloReader(content);
  const list = new HelloReader(reader.take(reader.number(2)));
  if (!reader.isAtEnd) throw new HelloError();
  const names: string[] = [];
  while (!list.isAtEnd) {
    const length = list.number(1);
    if (length === 0) throw new HelloError();
    names.push(list.take(length).toString("latin1"));
  }
  return names;
}

class HelloReader {
  readonly #bytes: Buffer;
  #position = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#position === this.#bytes.length;
  }

  number(byteCount: 1 | 2): number {
    return this.take(byteCount).readUIntBE(0, byteCount);
  }

  take(byteCount: number): Buffer {
    const end = this.#position + byteCount;
    if (end > this.#bytes.length) throw new HelloError();
    const taken = this.#bytes.subarray(this.#position, end);
    this.#position = end;
    return taken;
  }
}

/** With what TLS begins, and nothing else that is spoken here. */
export const tlsFirstByte = 0x16;
const majorVersion = 0x03;
const clientHelloType = 1;
const protocolsType = 16;
const recordHeadBytes = 5;
const messageHeadBytes = 4;
/** Of what isn't encrypted yet. */
const recordMaxBytes = 2 ** 14;
