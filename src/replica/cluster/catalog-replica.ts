import { ProglogError } from "../../base/error.ts";
import type { NodeId } from "../../raft/member.ts";
import type { GroupReplica } from "../group/group-replica.ts";
import type { CatalogRecord } from "./catalog-fold.ts";
import type { CatalogGroup } from "./catalog-group.ts";

/**
 * Group 0 as the catalog needs it, by this node's replica. That may be opened anew meanwhile, after damage or under another incarnation, so it is
 * asked for each time; while there is none, nothing is led here and nothing can be read.
 */
export class CatalogReplica implements CatalogGroup {
  readonly #find: () => GroupReplica | undefined;

  constructor(find: () => GroupReplica | undefined) {
    this.#find = find;
  }

  get isLeader(): boolean {
    return this.#find()?.isLeader === true;
  }

  get leader(): NodeId | undefined {
    return this.#find()?.leader;
  }

  get logStartOffset(): number {
    return this.#find()?.log.logStartOffset ?? 0;
  }

  get endOffset(): number {
    return this.#find()?.log.highWatermark ?? 0;
  }

  async append(values: readonly Buffer[]): Promise<{ readonly baseOffset: number }> {
    const { baseOffset } = await this.#get().append(values.map((value) => ({ value })));
    return { baseOffset };
  }

  async *tail(from: number, signal: AbortSignal): AsyncGenerator<CatalogRecord> {
    for await (const { offset, value } of this.#get().log.records({ from, tail: true, signal }))
      yield { offset, value: value ?? nothing };
  }

  async confirm(): Promise<void> {
    await this.#get().confirm();
  }

  async trim(offset: number): Promise<void> {
    await this.#get().trim(offset);
  }

  #get(): GroupReplica {
    const replica = this.#find();
    if (replica !== undefined) return replica;
    throw new ProglogError("UNAVAILABLE", "Cannot use the catalog: this node has no replica of group 0 at the moment");
  }
}

/** What isn't JSON changes nothing. */
const nothing = Buffer.alloc(0);
