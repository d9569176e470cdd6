import type { Timer } from "../../src/base/clock.ts";
import { isProglogError, messageOf, ProglogError } from "../../src/base/error.ts";
import { clientKeepaliveMs, clientKeepaliveTimeoutMs } from "../../src/base/limits.ts";
import type { CallOptions, RequestStream, StreamListener, Transport } from "../../src/client/transport.ts";
import { toStatusError } from "../../src/server/grpc-codecs.ts";
import { fromGrpcStatus } from "../../src/wire/grpc-status.ts";
import type { EventQueue } from "../event-queue.ts";
import { isOwnFault } from "./cluster-checks.ts";
import type { Machine } from "./machine.ts";
import { NodeDoor } from "./node-door.ts";

export interface ClientWireWorld {
  readonly queue: EventQueue;
  findMachine(address: string): Machine | undefined;
  readonly failed: (error: unknown) => void;
}

/** One way. Clients are near, and lose nothing: what happens to their connections is what happens to the nodes. */
const wireMs = 0.2;

/**
 * The way of a real client to a node, as its own transport is: one connection, made when it is needed. A process that is killed ends it at once; one
 * that stands still, or whose power went, says nothing, until the client asks whether it is there.
 */
export class ClientWire implements Transport {
  readonly address: string;
  readonly #world: ClientWireWorld;
  #connection: Connection | undefined;

  constructor(world: ClientWireWorld, address: string) {
    this.#world = world;
    this.address = address;
  }

  call(method: string, request: Buffer, { timeoutMs, signal }: CallOptions = {}): Promise<Buffer> {
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    let answer: Buffer | undefined;
    const { queue } = this.#world;
    const call = this.#open(method, {
      answered: (bytes) => (answer = bytes),
      ended: (error) => {
        timeout?.cancel();
        signal?.removeEventListener("abort", cancel);
        if (error === undefined && answer !== undefined) resolve(answer);
        else reject(error ?? lostError(this.address));
      },
    });
    const cancel = (): void => call.cancel();
    const timeout = timeoutMs === undefined ? undefined : queue.after(timeoutMs, () => call.finish(timeoutError(timeoutMs)));
    if (signal?.aborted === true) call.cancel();
    else signal?.addEventListener("abort", cancel, { once: true });
    call.send(request);
    call.end();
    return promise;
  }

  async *openServerStream(
    method: string,
    request: Buffer,
    { signal }: CallOptions = {},
  ): AsyncGenerator<Buffer, void, undefined> {
    const answers: Buffer[] = [];
    let end: { readonly error: unknown } | undefined;
    let news = Promise.withResolvers<void>();
    const call = this.#open(method, {
      answered: (bytes) => {
        answers.push(bytes);
        news.resolve();
      },
      ended: (error) => {
        end = { error };
        news.resolve();
      },
    });
    const cancel = (): void => call.cancel();
    if (signal?.aborted === true) call.cancel();
    else signal?.addEventListener("abort", cancel, { once: true });
    call.send(request);
    call.end();
    try {
      for (;;) {
        news = Promise.withResolvers<void>();
        for (let next = answers.shift(); next !== undefined; next = answers.shift()) yield next;
        if (end !== undefined && answers.length === 0) {
          if (end.error !== undefined) throw end.error instanceof Error ? end.error : new Error(messageOf(end.error));
          return;
        }
        if (answers.length === 0) await news.promise;
      }
    } finally {
      signal?.removeEventListener("abort", cancel);
      call.cancel();
    }
  }

  openStream(method: string, listener: StreamListener): RequestStream {
    return this.#open(method, listener);
  }

  close(): Promise<void> {
    this.#connection?.break(new ProglogError("CANCELLED", "The connection was closed"));
    return Promise.resolve();
  }

  #open(method: string, listener: StreamListener): ClientCall {
    const world = this.#world;
    if (this.#connection?.isBroken !== false) {
      const machine = world.findMachine(this.address);
      this.#connection = machine?.served === undefined ? undefined : new Connection(world, this.address, machine);
    }
    const call = new ClientCall(world, this.#connection, method, listener);
    if (this.#connection === undefined) world.queue.after(2 * wireMs, () => call.finish(unreachedError(this.address)));
    return call;
  }
}

/** What leads to one life of a machine's process, and breaks with it. */
class Connection {
  readonly machine: Machine;
  readonly life: number;
  readonly door: NodeDoor | undefined;
  readonly calls = new Set<ClientCall>();
  /** What ends with the process. */
  readonly serving = new Set<AbortController>();
  isBroken = false;
  readonly #world: ClientWireWorld;
  readonly #address: string;
  #asking: Timer | undefined;

  constructor(world: ClientWireWorld, address: string, machine: Machine) {
    this.#world = world;
    this.#address = address;
    this.machine = machine;
    this.life = machine.life;
    this.door = machine.served === undefined ? undefined : new NodeDoor(machine.served, machine.clock);
    if (machine.isClosing) this.door?.stop();
    machine.whenStopping(() => this.door?.stop());
    machine.whenEnded((tells) => {
      for (const over of this.serving) over.abort();
      this.door?.stop();
      if (tells) world.queue.after(wireMs, () => this.break(lostError(address)));
    });
  }

  get isAlive(): boolean {
    return this.machine.life === this.life;
  }

  /** Lets something come to the process, in order with all that came before. */
  deliver(run: () => void): void {
    this.#world.queue.after(wireMs, () => {
      this.machine.arrive(() => {
        if (this.isAlive) run();
      });
    });
  }

  began(call: ClientCall): void {
    this.calls.add(call);
    this.#watch();
  }

  ended(call: ClientCall): void {
    this.calls.delete(call);
    if (this.calls.size > 0) return;
    this.#asking?.cancel();
    this.#asking = undefined;
  }

  break(error: ProglogError): void {
    if (this.isBroken) return;
    this.isBroken = true;
    for (const call of [...this.calls]) call.finish(error);
  }

  /** Asks now and then whether the other end is there, as long as something is to be heard. */
  #watch(): void {
    const { queue } = this.#world;
    this.#asking ??= queue.after(clientKeepaliveMs, () => {
      let isHeard = false;
      this.deliver(() => (isHeard = true));
      this.#asking = queue.after(clientKeepaliveTimeoutMs, () => {
        this.#asking = undefined;
        if (!isHeard) this.break(lostError(this.#address));
        else if (this.calls.size > 0) this.#watch();
      });
    });
  }
}

/** One call, at both its ends. */
class ClientCall implements RequestStream {
  readonly #world: ClientWireWorld;
  readonly #connection: Connection | undefined;
  readonly #listener: StreamListener;
  #isOver = false;
  // At the node.
  readonly #over = new AbortController();
  readonly #requests: Buffer[] = [];
  #hasEnded = false;
  #news = Promise.withResolvers<void>();

  constructor(world: ClientWireWorld, connection: Connection | undefined, method: string, listener: StreamListener) {
    this.#world = world;
    this.#connection = connection;
    this.#listener = listener;
    if (connection === undefined) return;
    connection.began(this);
    connection.deliver(() => this.#serve(connection, method));
  }

  send(request: Buffer | readonly Buffer[]): void {
    if (this.#isOver) return;
    const bytes = Buffer.concat(request instanceof Uint8Array ? [request] : request);
    this.#connection?.deliver(() => {
      this.#requests.push(bytes);
      this.#news.resolve();
    });
  }

  end(): void {
    this.#connection?.deliver(() => this.#endRequests());
  }

  cancel(): void {
    this.finish(new ProglogError("CANCELLED", "The call was cancelled"));
  }

  /** The client hears nothing further; the node hears that there is nobody left. */
  finish(error: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#connection?.ended(this);
    this.#connection?.deliver(() => {
      this.#endRequests();
      this.#over.abort();
    });
    this.#listener.ended(error);
  }

  #endRequests(): void {
    this.#hasEnded = true;
    this.#news.resolve();
  }

  #serve(connection: Connection, method: string): void {
    const { door } = connection;
    const say = (run: () => void): Promise<void> =>
      new Promise((resolve) => {
        // The dead say nothing, and wait for nothing.
        if (!connection.isAlive) return;
        this.#world.queue.after(wireMs, () => {
          if (!this.#isOver) run();
          resolve();
        });
      });
    connection.serving.add(this.#over);
    const served = door?.serve({
      method,
      signal: this.#over.signal,
      ready: async () => {
        while (this.#requests.length === 0 && !this.#hasEnded) {
          await this.#news.promise;
          this.#news = Promise.withResolvers<void>();
        }
      },
      take: () => this.#requests.splice(0),
      send: (answer) => say(() => this.#listener.answered(answer)),
    });
    served?.then(
      () => {
        connection.serving.delete(this.#over);
        void say(() => this.finish(undefined));
      },
      (error: unknown) => {
        connection.serving.delete(this.#over);
        if (!connection.isAlive) return;
        if (!isProglogError(error) || isOwnFault(error)) this.#world.failed(error);
        const { code, message, details = Buffer.alloc(0) } = toStatusError(error);
        void say(() => this.finish(fromGrpcStatus({ code, message, details })));
      },
    );
  }
}

function unreachedError(address: string): ProglogError {
  const reason = `no server answers at ${address}`;
  return new ProglogError("UNAVAILABLE", `Cannot call: ${reason}`, { details: { reason, outcome: "not-appended" } });
}

function lostError(address: string): ProglogError {
  const reason = `the connection to ${address} was lost`;
  return new ProglogError("UNAVAILABLE", `Cannot hear the answer: ${reason}`, { details: { reason, outcome: "unknown" } });
}

function timeoutError(timeoutMs: number): ProglogError {
  return new ProglogError("TIMEOUT", `Cannot hear the answer: it didn't come in ${timeoutMs} ms`, {
    details: { outcome: "unknown" },
  });
}
