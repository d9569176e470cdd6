import type { NodeStorage } from "../replica/node-storage.ts";
import type { ConsumeService } from "./consume-service.ts";
import type { HeldBytes } from "./held-bytes.ts";
import type { ProduceService } from "./produce-service.ts";
import type { RequestBodies } from "./request-bodies.ts";
import type { TailService } from "./tail-service.ts";
import type { TopicService } from "./topic-service.ts";

/** What routes are made of. */
export interface RouteServices {
  readonly storage: NodeStorage;
  readonly topics: TopicService;
  readonly produce: ProduceService;
  readonly consume: ConsumeService;
  readonly tails: TailService;
  readonly bodies: RequestBodies;
  /** Bytes of answers that clients haven't taken yet. */
  readonly answers: HeldBytes;
}
