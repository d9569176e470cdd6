import type { ClusteredNode } from "../../src/replica/cluster/clustered-node.ts";
import type { Clock } from "../../src/base/clock.ts";
import { ProglogError } from "../../src/base/error.ts";
import { silentLogger } from "../../src/base/logger.ts";
import type { CallContext, Requests, Responses, StreamedResponses } from "../../src/grpc/index.ts";
import type { Access } from "../../src/server/access/access-control.ts";
import { ByteQuota } from "../../src/server/access/byte-quota.ts";
import { insider, setCaller } from "../../src/server/access/caller.ts";
import { ConsumeService } from "../../src/server/consume-service.ts";
import { consumeMessages, produceMessages } from "../../src/server/grpc-codecs.ts";
import { GrpcConsume } from "../../src/server/grpc-consume.ts";
import { GrpcProduce } from "../../src/server/grpc-produce.ts";
import { GrpcTopics } from "../../src/server/grpc-topics.ts";
import { ProduceService } from "../../src/server/produce-service.ts";
import { TopicService } from "../../src/server/topic-service.ts";
import { decodeTopicNameRequest, encodeTopicResponse } from "../../src/wire/topic-message.ts";

/** One call as its node has it: what the client sends, in order, and what it is sent. Bytes of messages, as they travel. */
export interface DoorCall {
  readonly method: string;
  /** Aborted when there is nobody left to answer. */
  readonly signal: AbortSignal;
  /** Resolves when there is something to take, or nothing comes any more. */
  ready(): Promise<void>;
  /** None when nothing comes any more. */
  take(): readonly Buffer[];
  send(answer: Buffer): Promise<void>;
}

/**
 * The services that a node offers its clients, as the server runs them, without its sockets: appends and reads go through what they go through
 * there.
 */
export class NodeDoor {
  readonly #produce: GrpcProduce;
  readonly #consume: GrpcConsume;
  readonly #topics: GrpcTopics;
  readonly #stopping = new AbortController();

  constructor(storage: ClusteredNode, clock: Clock) {
    const stopping = this.#stopping.signal;
    const ignore = (): void => {};
    const quotaOf = (verb: "produce" | "consume"): ByteQuota => new ByteQuota({ bytesPerSecond: null, verb, clock });
    const produce = new ProduceService(storage, { isAutoCreating: false, access, quota: quotaOf("produce") });
    this.#produce = new GrpcProduce({
      ...{ storage, produce, logger: silentLogger, stopping, onUnheardFailure: ignore, onError: ignore },
    });
    const consume = new ConsumeService(storage, { clock, access, quota: quotaOf("consume") });
    this.#consume = new GrpcConsume({ access, storage, consume, clock, stopping, quota: quotaOf("consume") });
    this.#topics = new GrpcTopics(storage, new TopicService(storage, { access }));
  }

  /** The node is stopping: streams end, and hear who leads next. Or its process is gone: signals that are never aborted would keep all of a world in memory. */
  stop(): void {
    this.#stopping.abort(new ProglogError("SHUTTING_DOWN", "Cannot go on: the node is stopping", { hint: "Come back." }));
  }

  /** Resolves when the call is answered; throws what it is to end with. */
  async serve(call: DoorCall): Promise<void> {
    this.#stopping.signal.throwIfAborted();
    const context = contextOf(call);
    const next = async (): Promise<Buffer> => {
      await call.ready();
      const [request] = call.take();
      if (request === undefined) throw new ProglogError("CANCELLED", "Cannot answer: nothing was asked");
      return request;
    };
    switch (call.method) {
      case "/log.v1.Topics/DescribeTopic": {
        const name = decodeTopicNameRequest(await next());
        return call.send(encodeTopicResponse(await this.#topics.describe(name, context)));
      }
      case "/log.v1.Log/ProduceStream": {
        const { decodeRequest, encodeResponse } = produceMessages;
        const requests = { ready: () => call.ready(), readAvailable: async () => call.take().map(decodeRequest) };
        const responses = { send: (response) => call.send(encodeResponse(response)) } satisfies Responses<
          Parameters<typeof encodeResponse>[0]
        >;
        return this.#produce.produceStream(requests as unknown as RequestsOf<typeof decodeRequest>, responses, context);
      }
      case "/log.v1.Log/ConsumeStream": {
        const { decodeRequest, encodeResponse } = consumeMessages;
        const responses: StreamedResponses<Parameters<typeof encodeResponse>[0]> = {
          send: (response) => call.send(encodeResponse(response)),
          sendInPieces: async ({ pieces }) => {
            const parts: Uint8Array[] = [];
            for await (const piece of pieces) parts.push(Buffer.from(piece));
            return call.send(Buffer.concat(parts));
          },
          isFull: false,
        };
        return this.#consume.consumeStream(decodeRequest(await next()), responses, context);
      }
      default:
        throw new ProglogError("ROUTE_NOT_FOUND", `Cannot answer ${call.method}: there is no such method here`);
    }
  }
}

type RequestsOf<Decode extends (bytes: Buffer) => unknown> = Requests<ReturnType<Decode>>;

/** Everybody may do everything. */
const access: Access = { check: () => {}, checkKnown: () => {}, permits: () => true, hold: () => () => {} };

function contextOf({ method, signal }: DoorCall): CallContext {
  const context = {
    path: method,
    signal,
    get isOver(): boolean {
      return signal.aborted;
    },
    sendHeaders: () => {},
  } as unknown as CallContext;
  setCaller(context, insider);
  return context;
}
