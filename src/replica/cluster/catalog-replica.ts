import { ProglogError } from "../../base/error.ts";
import type { Clock } from "../../base/clock.ts";
import type { NodeId } from "../../raft/member.ts";
import type { GroupReplica } from "../group/group-replica.ts";
import type { CatalogRecord } from "./catalog-fold.ts";
import type { CatalogGroup } from "./catalog-group.ts";

/** Group 0 as the catalog has it: whichever replica of it is open here at the moment. While there is none, everything has to be asked again. */
export class CatalogReplica implements CatalogGroup {
  readonly #find: () => GroupReplica | undefined;
  readonly #findLeader: () => NodeId | undefined;
  readonly #clock: Clock;

  /** `findLeader` tells of a leader that this node's replica doesn't know of. */
  constructor(parts: {
    readonly find: () => GroupReplica | undefined;
    readonly findLeader: () => NodeId | undefined;
    readonly clock: Clock;
  }) {
    this.#find = parts.find;
    this.#findLeader = parts.findLeader;
    this.#clock = parts.clock;
  }

  get isLeader(): boolean {
    return this.#find()?.isLeader ?? false;
  }

  get leader(): NodeId | undefined {
    return this.#find()?.leader ?? this.#findLeader();
  }

  get logStartOffset(): number {
    return this.#find()?.log.logStartOffset ?? 0;
  }

  get endOffset(): number {
    return this.#find()?.log.highWatermark ?? 0;
  }

  async append(values: readonly Buffer[]): Promise<{ readonly baseOffset: number }> {
    const records = values.map((value) => ({ value, timestamp: this.#clock.now() }));
    return this.#get().append(records, { acks: "quorum" });
  }

  async *tail(fromOffset: number, signal: AbortSignal): AsyncGenerator<CatalogRecord, void, undefined> {
    for await (const { offset, value } of this.#get().log.records({ from: fromOffset, tail: true, signal })) {
      // Commands are never null; what isn't one is skipped by the fold, which counts offsets.
      yield { offset, value: value ?? Buffer.alloc(0) };
    }
  }

  confirm(): Promise<void> {
    return Promise.try(() => this.#get().confirm());
  }

  trim(offset: number): Promise<unknown> {
    return Promise.try(() => this.#get().trim(offset));
  }

  #get(): GroupReplica {
    const group = this.#find();
    if (group !== undefined) return group;
    throw new ProglogError("UNAVAILABLE", "Cannot use the catalog: this node's replica of it isn't open", {
      details: { outcome: "not-appended" },
    });
  }
}
