import { GrpcStatusError } from "./grpc-status-error.ts";
import { type Method, type MessageCodec, serve, type ServedMethod } from "./method.ts";
import { bytesField, findField, integerField, type ProtobufField, readFields, textOf } from "./protobuf-fields.ts";

export type ServingStatus = "UNKNOWN" | "SERVING" | "NOT_SERVING" | "SERVICE_UNKNOWN";

/**
 * The standard health service, `grpc.health.v1.Health`. The empty name stands for the server as a whole. A watcher hears the status
 * as it is and then each change of it; of changes that come faster than it reads, the last.
 */
export class Health {
  readonly methods: readonly ServedMethod[];
  readonly #statuses = new Map<string, ServingStatus>();
  readonly #watchers = new Set<() => void>();

  constructor() {
    this.methods = [
      serve(healthCheck, (service) => {
        const status = this.#statuses.get(service);
        if (status === undefined)
          throw new GrpcStatusError("NOT_FOUND", `Cannot check ${service.slice(0, 200)}: there is no such service`);
        return status;
      }),
      serve(healthList, () => this.#statuses),
      serve(healthWatch, async (service, responses, call) => {
        let wake = (): void => {};
        const onChange = (): void => wake();
        this.#watchers.add(onChange);
        call.signal.addEventListener("abort", onChange, { once: true });
        try {
          for (let told: ServingStatus | undefined; !call.isOver; ) {
            const status = this.#statuses.get(service) ?? "SERVICE_UNKNOWN";
            if (status === told) await new Promise<void>((resolve) => (wake = resolve));
            else await responses.send((told = status));
          }
        } finally {
          this.#watchers.delete(onChange);
        }
      }),
    ];
  }

  /** Calls of Watch that are open. */
  get watcherCount(): number {
    return this.#watchers.size;
  }

  set(service: string, status: "SERVING" | "NOT_SERVING"): void {
    if (this.#statuses.get(service) === status) return;
    this.#statuses.set(service, status);
    for (const wake of this.#watchers) wake();
  }
}

const serviceCodec: MessageCodec<string> = {
  encode: (service) => (service === "" ? Buffer.alloc(0) : bytesField(1, service)),
  decode: (bytes) => textOf(readFields(bytes), 1),
};

/** By number, as in the proto. */
const servingStatuses: readonly ServingStatus[] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];

const statusCodec: MessageCodec<ServingStatus> = {
  encode: (status) => integerField(1, servingStatuses.indexOf(status)),
  decode: (bytes) => servingStatuses[findField(readFields(bytes), 1)?.integer ?? 0] ?? "UNKNOWN",
};

/** A map from a service's name to what `Check` answers for it. */
const statusesCodec: MessageCodec<ReadonlyMap<string, ServingStatus>> = {
  encode: (statuses) => Buffer.concat([...statuses].map(([service, status]) => bytesField(1, encodeEntry(service, status)))),
  decode: (bytes) => new Map(readFields(bytes).map(({ bytes: entry }) => decodeEntry(readFields(entry)))),
};

function encodeEntry(service: string, status: ServingStatus): Buffer {
  return Buffer.concat([bytesField(1, service), bytesField(2, integerField(1, servingStatuses.indexOf(status)))]);
}

function decodeEntry(entry: readonly ProtobufField[]): [string, ServingStatus] {
  return [textOf(entry, 1), statusCodec.decode(findField(entry, 2)?.bytes ?? Buffer.alloc(0))];
}

const emptyCodec: MessageCodec<undefined> = { encode: () => Buffer.alloc(0), decode: () => undefined };

/** All services that `Check` knows. */
export const healthList: Method<undefined, ReadonlyMap<string, ServingStatus>, "unary"> = {
  path: "/grpc.health.v1.Health/List",
  kind: "unary",
  request: emptyCodec,
  response: statusesCodec,
};

export const healthCheck: Method<string, ServingStatus, "unary"> = {
  path: "/grpc.health.v1.Health/Check",
  kind: "unary",
  request: serviceCodec,
  response: statusCodec,
};

export const healthWatch: Method<string, ServingStatus, "server-stream"> = {
  path: "/grpc.health.v1.Health/Watch",
  kind: "server-stream",
  request: serviceCodec,
  response: statusCodec,
};
