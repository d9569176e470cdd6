import { once } from "node:events";
import { connect, type Socket } from "node:net";

/** HTTP/2 by hand, on a bare socket: sends what no library would. It flow-controls nothing and checks nothing. */
export class RawHttp2 implements AsyncDisposable {
  readonly #socket: Socket;
  readonly frames: RawFrame[] = [];
  #received: Buffer = Buffer.alloc(0);
  #isClosed = false;
  #wake: (() => void) | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#isClosed = true;
      this.#wake?.();
    });
  }

  static async connect(port: number): Promise<RawHttp2> {
    const socket = connect({ host: "127.0.0.1", port, noDelay: true });
    await once(socket, "connect");
    return new RawHttp2(socket);
  }

  /** Connects and says what every client says first. */
  static async open(port: number, settings: readonly (readonly [id: number, value: number])[] = []): Promise<RawHttp2> {
    const raw = await RawHttp2.connect(port);
    raw.write(preface, settingsFrame(settings));
    return raw;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Bytes of DATA received. */
  get dataBytes(): number {
    let bytes = 0;
    for (const { type, payload } of this.frames) if (type === frameTypes.data) bytes += payload.length;
    return bytes;
  }

  write(...parts: readonly Uint8Array[]): void {
    if (!this.#isClosed) this.#socket.write(Buffer.concat(parts));
  }

  /** Reads nothing any more. */
  stop(): void {
    this.#socket.pause();
  }

  /** Ends the socket's sending side. */
  end(): void {
    this.#socket.end();
  }

  /** Resets the connection, as a process that is killed may. */
  reset(): void {
    this.#socket.resetAndDestroy();
  }

  /** The first frame of a type (and stream) that came or comes. Throws when the connection ends before one. */
  async frame(type: FrameType, streamId?: number): Promise<RawFrame> {
    for (;;) {
      const found = this.frames.find(
        (received) => received.type === frameTypes[type] && (streamId ?? received.streamId) === received.streamId,
      );
      if (found !== undefined) return found;
      if (this.#isClosed) throw new Error(`the connection ended without a ${type} frame`);
      await this.#more();
    }
  }

  /** The server's reason in words and its code, from its GOAWAY. */
  async goaway(): Promise<{ readonly code: number; readonly reason: string }> {
    const { payload } = await this.frame("goaway");
    return { code: payload.readUInt32BE(4), reason: payload.toString("latin1", 8) };
  }

  /** The code by which the server reset a stream. */
  async resetCode(streamId: number): Promise<number> {
    return (await this.frame("rstStream", streamId)).payload.readUInt32BE(0);
  }

  /** Resolves when the server has closed the connection. */
  async closed(): Promise<void> {
    while (!this.#isClosed) await this.#more();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy();
    await this.closed();
  }

  #take(chunk: Buffer): void {
    const bytes = Buffer.concat([this.#received, chunk]);
    const frames = readFrames(bytes);
    this.frames.push(...frames);
    this.#received = bytes.subarray(frames.reduce((length, { payload }) => length + 9 + payload.length, 0));
    this.#wake?.();
  }

  async #more(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    await promise;
  }
}

export interface RawFrame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

export const frameTypes = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export type FrameType = keyof typeof frameTypes;

export const frameFlags = { endStream: 1, ack: 1, endHeaders: 4 } as const;

export const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/** The whole frames that bytes begin with. */
export function readFrames(bytes: Buffer): RawFrame[] {
  const frames: RawFrame[] = [];
  for (let at = 0; bytes.length - at >= 9; ) {
    const end = at + 9 + bytes.readUIntBE(at, 3);
    if (end > bytes.length) break;
    frames.push({
      type: bytes[at + 3] ?? 0,
      flags: bytes[at + 4] ?? 0,
      streamId: bytes.readUInt32BE(at + 5),
      payload: bytes.subarray(at + 9, end),
    });
    at = end;
  }
  return frames;
}

export function frame(type: FrameType, flags: number, streamId: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = frameTypes[type];
  head[4] = flags;
  head.writeUInt32BE(streamId, 5);
  return Buffer.concat([head, payload]);
}

export function settingsFrame(settings: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(6 * settings.length);
  for (const [position, [id, value]] of settings.entries()) {
    payload.writeUInt16BE(id, 6 * position);
    payload.writeUInt32BE(value, 6 * position + 2);
  }
  return frame("settings", 0, 0, payload);
}

export function uint32Frame(type: "rstStream" | "windowUpdate", streamId: number, value: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(value);
  return frame(type, 0, streamId, payload);
}

/** The headers of a call, as every client sends them; `changes` sets others, and undefined leaves one out. */
export function callHeaders(path: string, changes: Readonly<Record<string, string | undefined>> = {}): Buffer {
  const headers: Record<string, string | undefined> = {
    ":method": "POST",
    ":scheme": "http",
    ":path": path,
    ":authority": "localhost",
    "content-type": "application/grpc",
    te: "trailers",
    ...changes,
  };
  return Buffer.concat(
    Object.entries(headers).flatMap(([name, value]) => (value === undefined ? [] : [headerField(name, value)])),
  );
}

/** HPACK's literal without indexing, which needs no table. */
export function headerField(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.from([0]), hpackText(name), hpackText(value)]);
}

function hpackText(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  return Buffer.concat([hpackLength(bytes.length), bytes]);
}

function hpackLength(length: number): Buffer {
  if (length < 127) return Buffer.from([length]);
  const bytes = [127];
  let rest = length - 127;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  bytes.push(rest);
  return Buffer.from(bytes);
}

/** A gRPC message in a DATA frame. */
export function messageFrame(streamId: number, message: string | Uint8Array, flags = 0): Buffer {
  const bytes = typeof message === "string" ? Buffer.from(message) : message;
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(bytes.length, 1);
  return frame("data", flags, streamId, Buffer.concat([prefix, bytes]));
}

/** A whole unary call. */
export function unaryCall(streamId: number, path: string, message: string): Buffer {
  return Buffer.concat([
    frame("headers", frameFlags.endHeaders, streamId, callHeaders(path)),
    messageFrame(streamId, message, frameFlags.endStream),
  ]);
}
