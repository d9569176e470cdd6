import { ProglogError } from "../../base/error.ts";
import type { CatalogRecord } from "./catalog-fold.ts";
import type { CatalogGroup } from "./catalog-group.ts";
import { notLeaderError } from "./catalog-request.ts";

/** For tests: group 0 as one list that several nodes see, of which one leads and each may lag. */
export class FakeCatalogLog {
  readonly values: Buffer[] = [];
  startOffset = 0;
  leader: string | undefined;
  /** Called before an append; may throw, and then nothing is appended. */
  beforeAppend: (values: readonly Buffer[]) => void | Promise<void> = () => {};
  /** Called after one; may throw, and then its caller doesn't know. */
  afterAppend: () => void = () => {};
  readonly views: FakeCatalogGroup[] = [];

  view(name: string): FakeCatalogGroup {
    const view = new FakeCatalogGroup(this, name);
    this.views.push(view);
    return view;
  }

  append(...values: readonly Buffer[]): number {
    const baseOffset = this.values.length;
    this.values.push(...values);
    for (const view of this.views) view.wake();
    return baseOffset;
  }
}

export class FakeCatalogGroup implements CatalogGroup {
  readonly name: string;
  readonly log: FakeCatalogLog;
  /** Up to where this node's replica shows records. */
  shownLimit = Number.POSITIVE_INFINITY;
  /** Thrown by the next read. */
  readError: Error | undefined;
  confirmError: Error | undefined;
  #wakers: (() => void)[] = [];

  constructor(log: FakeCatalogLog, name: string) {
    this.log = log;
    this.name = name;
  }

  get isLeader(): boolean {
    return this.log.leader === this.name;
  }

  get leader(): string | undefined {
    return this.log.leader;
  }

  get logStartOffset(): number {
    return this.log.startOffset;
  }

  get endOffset(): number {
    return Math.min(this.shownLimit, this.log.values.length);
  }

  async append(values: readonly Buffer[]): Promise<{ readonly baseOffset: number }> {
    if (!this.isLeader) throw notLeaderError("append", this.leader);
    await this.log.beforeAppend(values);
    const baseOffset = this.log.append(...values);
    this.log.afterAppend();
    return { baseOffset };
  }

  async *tail(fromOffset: number, signal: AbortSignal): AsyncGenerator<CatalogRecord> {
    for (let offset = fromOffset; !signal.aborted; ) {
      if (this.readError !== undefined) {
        const error = this.readError;
        this.readError = undefined;
        throw error;
      }
      if (offset < this.log.startOffset)
        throw new ProglogError(
          "OFFSET_OUT_OF_RANGE",
          `Cannot read offset ${offset}: the log starts at ${this.log.startOffset}`,
        );
      const value = offset < this.endOffset ? this.log.values[offset] : undefined;
      if (value === undefined) {
        const { promise, resolve } = Promise.withResolvers<void>();
        this.#wakers.push(resolve);
        signal.addEventListener("abort", () => resolve(), { once: true });
        await promise;
        continue;
      }
      yield { offset, value };
      offset += 1;
    }
  }

  async confirm(): Promise<void> {
    if (this.confirmError !== undefined) throw this.confirmError;
    if (this.log.leader === undefined) throw new ProglogError("UNAVAILABLE", "Cannot confirm: nobody leads");
    const end = this.log.values.length;
    while (this.endOffset < end) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wakers.push(resolve);
      await promise;
    }
  }

  async trim(offset: number): Promise<void> {
    this.log.startOffset = Math.max(this.log.startOffset, offset);
  }

  show(limit = Number.POSITIVE_INFINITY): void {
    this.shownLimit = limit;
    this.wake();
  }

  wake(): void {
    for (const wake of this.#wakers.splice(0)) wake();
  }
}
