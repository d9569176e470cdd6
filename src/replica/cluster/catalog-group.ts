import type { NodeId } from "../../raft/member.ts";
import type { CatalogRecord } from "./catalog-fold.ts";

/** Group 0, as far as the catalog needs it: a replicated log of records without keys. */
export interface CatalogGroup {
  readonly isLeader: boolean;
  /** Who leads, as far as this node knows. */
  readonly leader: NodeId | undefined;
  /** Of this node's replica. */
  readonly logStartOffset: number;
  /** The offset behind the last record that this node's replica shows. */
  readonly endOffset: number;
  /**
   * Appends records behind one another, and resolves when they are committed. NOT_LEADER and other codes that mean "not appended";
   * LEADERSHIP_LOST and others that leave it open.
   */
  append(values: readonly Buffer[]): Promise<{ readonly baseOffset: number }>;
  /** Committed records from an offset on, and those that come. OFFSET_OUT_OF_RANGE when the log begins behind it. Ends with `signal`. */
  tail(fromOffset: number, signal: AbortSignal): AsyncIterable<CatalogRecord>;
  /** Resolves when this node's replica shows all that was acknowledged before the call. UNAVAILABLE, OVERLOADED. */
  confirm(): Promise<void>;
  /** On the leader: what lies before `offset` goes, in all replicas. */
  trim(offset: number): Promise<unknown>;
}
