import type { LogContext } from "./log-context.ts";
import type { Segments } from "./segments.ts";

/** How many bytes a log's stores take together. Sealed ones are asked for once and summed up: 100,000 are as many system calls. */
export class StoreSizes {
  readonly #disk: LogContext["disk"];
  #sealedBytes: number | undefined;
  #sealedCount = -1;

  constructor(disk: LogContext["disk"]) {
    this.#disk = disk;
  }

  total({ sealed, active }: Segments): number {
    if (this.#sealedBytes === undefined || this.#sealedCount !== sealed.length) {
      this.#sealedBytes = sealed.reduce((sum, segment) => sum + (this.#disk.size(segment.storePath) ?? 0), 0);
      this.#sealedCount = sealed.length;
    }
    return this.#sealedBytes + active.store.end;
  }

  /** To be told when the store of a sealed segment was replaced. */
  noteReplaced(bytesBefore: number, bytesAfter: number): void {
    if (this.#sealedBytes !== undefined) this.#sealedBytes += bytesAfter - bytesBefore;
  }

  /** To be told when segments were removed or cut. */
  forget(): void {
    this.#sealedBytes = undefined;
  }
}
