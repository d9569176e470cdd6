import { createServer, type Server, type Socket } from "node:net";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import {
  type CallKind,
  type Channel,
  type ChannelOptions,
  connect,
  GrpcServer,
  type GrpcServerOptions,
  type Method,
} from "../src/grpc/index.ts";

/** A gRPC server on a port of its own, and what a test asks of it. */
export class GrpcPair implements AsyncDisposable {
  readonly server: GrpcServer;
  readonly port: number;
  /** The codes of the calls that ended, and why connections were refused. */
  readonly ended: { readonly path: string; readonly code: number }[] = [];
  readonly refused: string[] = [];
  readonly #listener: Server;
  readonly #sockets = new Set<Socket>();
  readonly #channels: Channel[] = [];

  private constructor(server: GrpcServer, listener: Server) {
    this.server = server;
    this.#listener = listener;
    this.port = (listener.address() as AddressInfo).port;
  }

  static async open(options: GrpcServerOptions): Promise<GrpcPair> {
    const observer = {
      callEnded: (path: string, code: number) => void pair.ended.push({ path, code }),
      sessionRefused: (reason: string) => void pair.refused.push(reason),
    };
    const server = new GrpcServer({ ...options, observer });
    const listener = createServer((socket) => {
      pair.#sockets.add(socket);
      socket.once("close", () => pair.#sockets.delete(socket));
      socket.on("error", () => {});
      server.acceptSocket(socket);
    });
    listener.listen(0, "127.0.0.1");
    await once(listener, "listening");
    const pair = new GrpcPair(server, listener);
    return pair;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  get socketCount(): number {
    return this.#sockets.size;
  }

  connect(options: Partial<ChannelOptions> = {}): Channel {
    const channel = connect({ address: this.address, ...options });
    this.#channels.push(channel);
    return channel;
  }

  /** Drops every connection without a word, as a process that is killed does. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#channels.map((channel) => channel.close()));
    this.#listener.close();
    await this.server.close();
    this.cut();
  }
}

/** A method whose messages are bytes as they are. */
export function bytesMethod<Kind extends CallKind>(path: string, kind: Kind): Method<Buffer, Buffer, Kind> {
  return { path, kind, request: bytesCodec, response: bytesCodec };
}

/** A method whose messages are text. */
export function textMethod<Kind extends CallKind>(path: string, kind: Kind): Method<string, string, Kind> {
  return { path, kind, request: textCodec, response: textCodec };
}

const bytesCodec = { encode: (bytes: Buffer) => bytes, decode: (bytes: Buffer) => bytes };
const textCodec = { encode: (text: string) => Buffer.from(text), decode: (bytes: Buffer) => bytes.toString() };
