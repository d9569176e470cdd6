import { messageOf } from "../../base/error.ts";
import type { Logger } from "../../base/logger.ts";
import type { CatchUpReport } from "../../raft/catch-up.ts";
import type { CatchUpOrder, CatchUpWithdrawal } from "../../raft/ready.ts";

/** The peers that are being brought up to the log's base, each by an order of the core, until that is done or withdrawn. */
export class CatchUps {
  readonly #parts: CatchUpParts;
  /** Under way, by the orders' ids. */
  readonly #running = new Map<number, AbortController>();

  constructor(parts: CatchUpParts) {
    this.#parts = parts;
  }

  begin(order: CatchUpOrder): void {
    const { to, id } = order;
    const { catchUp, caughtUp, failed, logger, groupName } = this.#parts;
    if (catchUp === undefined) {
      failed({ to, id });
      return;
    }
    const withdrawn = new AbortController();
    this.#running.set(id, withdrawn);
    void catchUp(order, withdrawn.signal)
      .then(
        (index) => caughtUp({ to, id, index }),
        (error: unknown) => {
          // Nobody waits for what was withdrawn.
          if (withdrawn.signal.aborted) return;
          logger.warn({ group: groupName, to, reason: messageOf(error) }, "could not bring a replica up to the log's base");
          failed({ to, id });
        },
      )
      .finally(() => this.#running.delete(id));
  }

  withdraw({ id }: CatchUpWithdrawal): void {
    this.#running.get(id)?.abort();
  }

  end(): void {
    for (const running of this.#running.values()) running.abort();
  }
}

export interface CatchUpParts {
  readonly groupName: string;
  readonly logger: Logger;
  /** Resolves with the index that the peer has then. Without it such a peer stays behind. */
  readonly catchUp: ((order: CatchUpOrder, withdrawn: AbortSignal) => Promise<number>) | undefined;
  readonly caughtUp: (report: CatchUpReport & { readonly index: number }) => void;
  readonly failed: (report: CatchUpReport) => void;
}
