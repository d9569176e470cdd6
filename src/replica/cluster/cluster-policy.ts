import { join } from "node:path";
import type { Clock } from "../../base/clock.ts";
import { catalogRetryMaxMs } from "../../base/cluster-limits.ts";
import type { Disk } from "../../base/disk.ts";
import { isProglogError, messageOf, ProglogError } from "../../base/error.ts";
import type { Logger } from "../../base/logger.ts";
import { sleep } from "../../base/sleep.ts";
import { manifestName, readManifest } from "../../log/manifest.ts";
import { policyDigest, type PolicyStore } from "../policy-store.ts";
import type { ClusterCatalog } from "./cluster-catalog.ts";
import { nodeRecordName, readNodeRecord } from "./node-record-state.ts";

/**
 * The cluster's access policy, as this node knows it.
 *
 * What isn't known must not pass for "there is none": a node that starts again folds the catalog from its log's start, and its log may end before
 * the policy was set. So until it has heard from a leader of group 0 once, only a policy that it finds counts, and else nothing is
 * known. The policy of the single node that this one was counts until the catalog has it.
 */
export class ClusterPolicy implements PolicyStore {
  readonly #options: ClusterPolicyOptions;
  readonly #watchers = new Set<() => void>();
  #catalog: ClusterCatalog | undefined;
  /** What the manifest of a single node had, for as long as it has it; else "". */
  #own: string;
  /** The node was in a cluster when it was opened: what it knows of it may be old. */
  readonly #wasInCluster: boolean;
  #isConfirmed = false;

  constructor(options: ClusterPolicyOptions) {
    const { disk, path } = options;
    this.#options = options;
    const record = readNodeRecord(disk, join(path, nodeRecordName));
    this.#wasInCluster = record?.clusterId !== undefined;
    // Who joined a cluster left behind what it went by; its manifest has that still. Who formed one has made a promise.
    const hasJoined = this.#wasInCluster && record?.promise === undefined;
    this.#own = hasJoined ? "" : (readManifest(disk, join(path, manifestName))?.policy ?? "");
  }

  get text(): string | undefined {
    const known = this.#catalog?.state.policy ?? "";
    if (known !== "") return known;
    if (this.#own !== "") return this.#own;
    return this.#isConfirmed || !this.#wasInCluster ? "" : undefined;
  }

  /** The catalog is there, if it isn't known yet what it says. To be called once; the signal aborts when the node is closed. */
  follow(catalog: ClusterCatalog, { hasJoined, signal }: { readonly hasJoined: boolean; readonly signal: AbortSignal }): void {
    this.#catalog = catalog;
    // Who joins a cluster leaves behind what it went by.
    if (hasJoined) this.#own = "";
    catalog.watch(() => this.#changed());
    void this.#confirm(catalog, signal);
    this.#changed();
  }

  watch(run: () => void): () => void {
    this.#watchers.add(run);
    return () => void this.#watchers.delete(run);
  }

  async refresh(): Promise<void> {
    await this.#get().refresh();
  }

  async replace(basis: string, text: string): Promise<void> {
    await this.#get().propose({ kind: "set-policy", policy: text, basis: policyDigest(basis) });
    this.#changed();
  }

  /** Tries until it was told, or the catalog has come to its end. */
  async #confirm(catalog: ClusterCatalog, signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#options;
    while (catalog.endReason === undefined && !signal.aborted) {
      try {
        await catalog.refresh();
        if (catalog.state.clusterId !== undefined) break;
      } catch (error) {
        const level = isProglogError(error) ? "debug" : "error";
        logger[level]({ reason: messageOf(error) }, "the access policy can't be confirmed yet");
      }
      await sleep(clock, catalogRetryMaxMs, signal);
    }
    if (catalog.endReason !== undefined || signal.aborted) return;
    this.#isConfirmed = true;
    this.#changed();
  }

  #changed(): void {
    for (const run of [...this.#watchers]) run();
  }

  #get(): ClusterCatalog {
    if (this.#catalog?.state.clusterId !== undefined) return this.#catalog;
    throw new ProglogError("UNAVAILABLE", "Cannot look after the access policy: this node hasn't heard from its cluster yet", {
      hint: "Come back: it waits for most of the nodes that keep the catalog.",
      details: { outcome: "not-appended" },
    });
  }
}

export interface ClusterPolicyOptions {
  readonly disk: Disk;
  /** The data directory. */
  readonly path: string;
  readonly clock: Clock;
  readonly logger: Logger;
}
