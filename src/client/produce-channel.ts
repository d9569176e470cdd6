import type { Clock, Timer } from "../base/clock.ts";
import { ProglogError } from "../base/error.ts";
import { clientSilenceMs } from "../base/limits.ts";
import {
  decodeProduceResponse,
  encodeBatchRequest,
  encodeProduceRequest,
  type ProduceRequest,
  type ProduceResponse,
} from "../wire/produce-message.ts";
import { fromProtoError } from "../wire/proto-error.ts";
import type { RequestStream, Transport } from "./transport.ts";

/**
 * One ProduceStream to a node, for all partitions that are produced to there. Requests go out as they come, without waiting
 * for the answer to the one before; answers come in the order of the requests, each with its own error, if it has one. When the
 * stream ends, everything that waits for an answer gets UNAVAILABLE: it may have been appended.
 */
export class ProduceChannel {
  readonly address: string;
  readonly #stream: RequestStream;
  readonly #waiting: PendingAnswer[] = [];
  /** Index of the first of `#waiting` that still waits: shifting an array of thousands costs more than forgetting in steps. */
  #first = 0;
  #end: { readonly error: unknown } | undefined;
  readonly #clock: Clock;
  readonly #onSilent: () => void;
  #silenceTimer: Timer | undefined;
  /** When it was heard of last, or began to be waited for. */
  #heardAtMs = 0;

  constructor(transport: Transport, { clock, onSilent }: ProduceChannelParts) {
    this.address = transport.address;
    this.#clock = clock;
    this.#onSilent = onSilent;
    this.#stream = transport.openStream(method, {
      answered: (answer) => this.#answer(answer),
      ended: (error) => this.#fail(error ?? endedError(transport.address)),
    });
  }

  /** False once it has ended: whoever has something to send opens another. */
  get isOpen(): boolean {
    return this.#end === undefined;
  }

  /** Rejects with the node's error, or UNAVAILABLE. */
  produce({ batch, ...rest }: Omit<ProduceRequest, "answersErrors">): Promise<ProduceResponse> {
    if (this.#end !== undefined) return Promise.reject(toError(this.#end.error));
    const { promise, resolve, reject } = Promise.withResolvers<ProduceResponse>();
    if (this.#waiting.length === this.#first) this.#heardAtMs = this.#clock.monotonic();
    this.#waiting.push({ resolve, reject });
    this.#watch();
    const request = { ...rest, answersErrors: true };
    this.#stream.send(batch === undefined ? encodeProduceRequest(request) : encodeBatchRequest({ ...request, batch }));
    return promise;
  }

  /** Ends it once everything sent is answered. */
  end(): void {
    if (this.#end === undefined) this.#stream.end();
  }

  /** Breaks it off: what waits for an answer gets `reason`. */
  cancel(reason: ProglogError): void {
    this.#breakOff(reason);
  }

  #answer(bytes: Buffer): void {
    const pending = this.#waiting[this.#first];
    if (pending === undefined) return this.#breakOff(new ProglogError("UNAVAILABLE", "The node answered what wasn't asked"));
    let response: ProduceResponse;
    try {
      response = decodeProduceResponse(bytes);
    } catch (error) {
      return this.#breakOff(error);
    }
    this.#first += 1;
    this.#heardAtMs = this.#clock.monotonic();
    if (this.#first === forgottenAtOnce) {
      this.#waiting.splice(0, this.#first);
      this.#first = 0;
    }
    if (this.#waiting.length === this.#first) this.#unwatch();
    if (response.error === undefined) pending.resolve(response);
    else pending.reject(fromProtoError(response.error));
  }

  /** Tells, again and again, when nothing is heard though there is something to hear. */
  #watch(): void {
    this.#silenceTimer ??= this.#clock.setTimer(
      Math.max(1, this.#heardAtMs + clientSilenceMs - this.#clock.monotonic()),
      () => {
        this.#silenceTimer = undefined;
        const isSilent = this.#clock.monotonic() - this.#heardAtMs >= clientSilenceMs;
        if (isSilent) this.#heardAtMs = this.#clock.monotonic();
        this.#watch();
        if (isSilent) this.#onSilent();
      },
    );
  }

  #unwatch(): void {
    this.#silenceTimer?.cancel();
    this.#silenceTimer = undefined;
  }

  #breakOff(error: unknown): void {
    // First what waits hears why: the stream's own word is that it was cancelled.
    this.#fail(error);
    this.#stream.cancel();
  }

  #fail(error: unknown): void {
    if (this.#end !== undefined) return;
    this.#end = { error };
    this.#unwatch();
    for (const { reject } of this.#waiting.splice(0).slice(this.#first)) reject(toError(error));
  }
}

export interface ProduceChannelParts {
  readonly clock: Clock;
  /** Called each time when the node has said nothing for `clientSilenceMs` about what waits for its answer. */
  readonly onSilent: () => void;
}

const method = "/log.v1.Log/ProduceStream";
const forgottenAtOnce = 256;

interface PendingAnswer {
  readonly resolve: (response: ProduceResponse) => void;
  readonly reject: (error: ProglogError) => void;
}

function endedError(address: string): ProglogError {
  const reason = `${address} ended the stream`;
  return new ProglogError("UNAVAILABLE", `Cannot hear the answer: ${reason}`, { details: { reason, outcome: "unknown" } });
}

/** The end of a stream is the end of a connection, whatever it was called: what was sent may have been appended. */
function toError(error: unknown): ProglogError {
  if (error instanceof ProglogError && error.code !== "INTERNAL") return error;
  return new ProglogError("UNAVAILABLE", "The connection broke before the answer came", { cause: error });
}
