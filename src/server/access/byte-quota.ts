import { type Clock, systemClock } from "../../base/clock.ts";
import { ProglogError } from "../../base/error.ts";
import { sleep } from "../../base/sleep.ts";
import { quotaPrincipalsMaxCount, quotaWaitMaxMs } from "../../base/security-limits.ts";
import { type Caller, subjectOf } from "./caller.ts";

/**
 * How many bytes a second each principal may have of this node, in one direction. Bytes are counted when they have come or gone, whatever they
 * are, so a large batch goes through at once and what comes behind it waits for as long as it takes: nobody is refused for ever because
 * what he sends is larger than what he may send in a second. What streams is held back before it is read; a single request is refused,
 * since one that waits would hold memory that others need.
 */
export class ByteQuota {
  readonly #options: ByteQuotaOptions;
  /** Of those who had something lately, by name; who had something last stands last. */
  readonly #accounts = new Map<string, Account>();

  constructor(options: ByteQuotaOptions) {
    this.#options = options;
  }

  get isOn(): boolean {
    return this.#options.bytesPerSecond !== null;
  }

  get accountCount(): number {
    return this.#accounts.size;
  }

  /** Throws QUOTA_EXCEEDED while the caller has had more than it may. */
  check(caller: Caller): void {
    const waitMs = this.#waitMs(caller);
    if (waitMs === 0) return;
    const { verb, bytesPerSecond } = this.#options;
    const text = `Cannot ${verb} now: ${subjectOf(caller)} has had its ${bytesPerSecond} bytes a second of this node`;
    throw new ProglogError("QUOTA_EXCEEDED", text, {
      hint: `Come back in ${Math.ceil(waitMs / 1_000)} s, or use a stream: that is held back, and not refused.`,
      details: { retryAfterMs: waitMs },
    });
  }

  /** Resolves when the caller may go on, or `signal` aborts; undefined when that is now. */
  whenAllowed(caller: Caller, signal: AbortSignal): Promise<void> | undefined {
    return this.#waitMs(caller) === 0 ? undefined : this.#wait(caller, signal);
  }

  charge(caller: Caller, bytes: number): void {
    const { bytesPerSecond, clock } = this.#options;
    if (bytesPerSecond === null || caller.isAdmin) return;
    const name = subjectOf(caller);
    const nowMs = clock.monotonic();
    const owed = this.#owedBytes(name, nowMs) + bytes;
    this.#accounts.delete(name);
    for (const [other] of this.#accounts) {
      if (this.#accounts.size < quotaPrincipalsMaxCount && this.#owedBytes(other, nowMs) > 0) break;
      this.#accounts.delete(other);
    }
    this.#accounts.set(name, { owedBytes: owed, atMs: nowMs });
  }

  /** Looks again now and then: others with the same name add to the debt. */
  async #wait(caller: Caller, signal: AbortSignal): Promise<void> {
    for (let waitMs = this.#waitMs(caller); waitMs > 0 && !signal.aborted; waitMs = this.#waitMs(caller))
      await sleep(this.#options.clock, Math.min(waitMs, quotaWaitMaxMs), signal);
  }

  /** Until it owes no more than a second's. */
  #waitMs(caller: Caller): number {
    const { bytesPerSecond, clock } = this.#options;
    if (bytesPerSecond === null || caller.isAdmin) return 0;
    const owed = this.#owedBytes(subjectOf(caller), clock.monotonic());
    return owed <= bytesPerSecond ? 0 : Math.ceil(((owed - bytesPerSecond) / bytesPerSecond) * 1_000);
  }

  /** Had, and not worked off since. */
  #owedBytes(name: string, nowMs: number): number {
    const account = this.#accounts.get(name);
    if (account === undefined) return 0;
    const { bytesPerSecond } = this.#options;
    return Math.max(0, account.owedBytes - ((nowMs - account.atMs) / 1_000) * (bytesPerSecond ?? 0));
  }
}

/** One for each direction. */
export interface ByteQuotas {
  readonly produce: ByteQuota;
  readonly consume: ByteQuota;
}

export interface ByteQuotaOptions {
  /** Null: as many as there are. */
  readonly bytesPerSecond: number | null;
  readonly verb: "produce" | "consume";
  readonly clock: Clock;
}

/** Everybody may have everything: for tests of services. */
export const noQuota = new ByteQuota({ bytesPerSecond: null, verb: "produce", clock: systemClock });

interface Account {
  readonly owedBytes: number;
  readonly atMs: number;
}
