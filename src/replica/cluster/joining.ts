import { ProglogError } from "../../base/error.ts";
import type { JoinRequest } from "./formation-view.ts";

/** A node as a cluster knows it. */
export interface ClusterNode {
  readonly name: string;
  readonly storageId: string;
  readonly address: string;
}

/** What becomes of a node that asks to be taken in. */
export type Admission =
  | { readonly kind: "new" }
  /** It is in already: nothing is to be done. */
  | { readonly kind: "present" }
  /** It is in, and was reached elsewhere. */
  | { readonly kind: "moved"; readonly from: string };

/**
 * Judges a question to join, on the leader of group 0, against the nodes of its catalog. Throws NODE_ALREADY_EXISTS for a name that
 * is another directory's, and for a directory that has another name; `details` has `node` and `storageId` of who is there.
 */
export function judgeJoin(nodes: Iterable<ClusterNode>, { name, storageId, address }: JoinRequest): Admission {
  let admission: Admission = { kind: "new" };
  for (const node of nodes) {
    const details = { node: node.name, storageId: node.storageId };
    if (node.name === name && node.storageId !== storageId)
      throw new ProglogError(
        "NODE_ALREADY_EXISTS",
        `Cannot take in ${name} at ${address}: a node of that name is there, on another directory`,
        {
          hint: `If its directory is lost, remove it first (proglog cluster remove ${name} --force); else give the new one another --node-name.`,
          details,
        },
      );
    if (node.storageId === storageId && node.name !== name)
      throw new ProglogError(
        "NODE_ALREADY_EXISTS",
        `Cannot take in ${name} at ${address}: its directory is that of ${node.name}`,
        {
          hint: `Start it with --node-name ${node.name}.`,
          details,
        },
      );
    if (node.storageId === storageId)
      admission = node.address === address ? { kind: "present" } : { kind: "moved", from: node.address };
  }
  return admission;
}
