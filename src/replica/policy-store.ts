import { createHash } from "node:crypto";
import { ProglogError } from "../base/error.ts";

/**
 * Where the access policy lies: on a single node in its manifest, in a cluster in the catalog, so that all nodes go by the same. Here it is a
 * text; what it says is known to who asks (`server/access`).
 */
export interface PolicyStore {
  /** "" where none was ever set; undefined while this node can't know: it was in a cluster, and hasn't heard from it since its start. */
  readonly text: string | undefined;
  /** Calls `run` some time after the text may have changed. Returns how to stop it. */
  watch(run: () => void): () => void;
  /** Resolves when `text` has all that was acknowledged anywhere before the call. Errors as those of the catalog. */
  refresh(): Promise<void>;
  /**
   * Puts `text` in the place of `basis`; when it resolves that is durable, and known here. Throws CHANGE_IN_PROGRESS when what stands there is
   * something else by now, DISK_FULL or DISK_FAILED, or what a change of the catalog does.
   */
  replace(basis: string, text: string): Promise<void>;
}

/** What a change names its basis by: a policy may be long. */
export function policyDigest(policy: string): string {
  return createHash("sha256").update(policy).digest("hex");
}

export function policyChanged(): ProglogError {
  return new ProglogError("CHANGE_IN_PROGRESS", "Cannot set the access policy: it was changed meanwhile", {
    hint: "Look at what there is, and try again.",
  });
}
