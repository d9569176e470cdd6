import type { Clock, Timer } from "../base/clock.ts";

/**
 * The room that streams of a node share for batches unfolded to records. A batch of some KiB may unfold to a hundred megabytes, and a
 * client that stands still would keep them there. So who unfolds a batch asks for room first, and gives it up when his client has
 * taken nothing for a while, or sooner where another waits for room; when his client goes on, he reads the batch again.
 */
export class UnfoldedRoom {
  readonly #clock: Clock;
  readonly #maxBytes: number;
  readonly #pressedStallMs: number;
  readonly #stallMs: number;
  #bytes = 0;
  /** Who may be told to give up. The first is the one that has been standing still for the longest. */
  readonly #stalled = new Map<Unfolded, () => void>();
  readonly #line: Waiter[] = [];

  constructor(options: UnfoldedRoomOptions) {
    this.#clock = options.clock;
    this.#maxBytes = options.maxBytes;
    this.#pressedStallMs = options.pressedStallMs;
    this.#stallMs = options.stallMs;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get waitingCount(): number {
    return this.#line.length;
  }

  /**
   * Room for so many bytes, and for what they turn out to be: see `resize`. One always fits into an empty room. Resolves undefined when
   * `signal` is aborted before there is any.
   */
  async enter(bytes: number, signal: AbortSignal): Promise<Unfolded | undefined> {
    if (signal.aborted) return undefined;
    if (this.#line.length === 0 && this.#makeRoom(bytes)) return this.#admit(bytes);
    const { promise, resolve } = Promise.withResolvers<Unfolded | undefined>();
    const leave = (): void => {
      this.#line.splice(this.#line.indexOf(waiter), 1);
      resolve(undefined);
      this.#admitFirst();
    };
    const waiter: Waiter = {
      bytes,
      admit: () => {
        signal.removeEventListener("abort", leave);
        resolve(this.#admit(bytes));
      },
    };
    signal.addEventListener("abort", leave, { once: true });
    this.#line.push(waiter);
    return promise;
  }

  /** True when `bytes` more fit, which may be so only once those have gone that stand still. */
  #makeRoom(bytes: number): boolean {
    const fits = (): boolean => this.#bytes === 0 || this.#bytes + bytes <= this.#maxBytes;
    for (const giveUp of this.#stalled.values()) {
      if (fits()) return true;
      giveUp();
    }
    return fits();
  }

  #admit(bytes: number): Unfolded {
    let heldBytes = 0;
    const resize = (to: number): void => {
      this.#bytes += to - heldBytes;
      const isLess = to < heldBytes;
      heldBytes = to;
      if (isLess) this.#admitFirst();
    };
    resize(bytes);
    const unfolded: Unfolded = {
      resize,
      release: () => resize(0),
      outlasts: (taken) => {
        const { promise, resolve, reject } = Promise.withResolvers<boolean>();
        const end = (): void => {
          this.#stalled.delete(unfolded);
          timer.cancel();
        };
        const giveUp = (): void => {
          end();
          resolve(false);
          resize(0);
        };
        // At first it isn't told apart from one that reads on as fast as it can.
        let timer: Timer = this.#clock.setTimer(this.#pressedStallMs, () => {
          this.#stalled.set(unfolded, giveUp);
          timer = this.#clock.setTimer(this.#stallMs - this.#pressedStallMs, giveUp);
          this.#admitFirst();
        });
        taken.then(
          () => {
            end();
            resolve(true);
          },
          (error: unknown) => {
            end();
            reject(error);
          },
        );
        return promise;
      },
    };
    return unfolded;
  }

  #admitFirst(): void {
    for (let first = this.#line[0]; first !== undefined && this.#makeRoom(first.bytes); first = this.#line[0]) {
      this.#line.shift();
      first.admit();
    }
  }
}

/** What one stream has of the room. */
export interface Unfolded {
  /** It takes so many bytes now. May go beyond the room: what is unfolded is unfolded. */
  resize(bytes: number): void;
  /**
   * Waits until the client has `taken` what was sent. Resolves true when it has, and false when the room had to be given up first: from then
   * on nothing of it may be used. Rejects as `taken` does.
   */
  outlasts(taken: Promise<void>): Promise<boolean>;
  release(): void;
}

export interface UnfoldedRoomOptions {
  readonly clock: Clock;
  readonly maxBytes: number;
  /** How long a client stands still before its stream gives up where others wait for room. */
  readonly pressedStallMs: number;
  /** … and in any case. */
  readonly stallMs: number;
}

interface Waiter {
  readonly bytes: number;
  readonly admit: () => void;
}
