import { ProglogError } from "../../base/error.ts";
import { catalogVersion } from "./catalog-fold.ts";
import type { ClusterCatalog } from "./cluster-catalog.ts";
import type { Joined, JoinRequest } from "./formation-view.ts";

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

/** Has a node taken in, by way of the leader of group 0. Throws as `judgeJoin` does, and as the catalog. */
export async function admit(
  catalog: Pick<ClusterCatalog, "state" | "refresh" | "propose">,
  request: JoinRequest,
): Promise<Joined> {
  await catalog.refresh();
  const { state } = catalog;
  const node = { ...request, version: catalogVersion };
  const admission = judgeJoin(state.nodes.values(), request);
  if (admission.kind === "new") await catalog.propose({ kind: "add-node", node });
  else if (admission.kind === "moved") await catalog.propose({ kind: "update-node", node, isRenewed: false });
  const { clusterId, nodes } = catalog.state;
  const incarnation = nodes.get(request.name)?.incarnation;
  if (clusterId === undefined || incarnation === undefined)
    throw new ProglogError("UNAVAILABLE", `Cannot take in ${request.name}: it was removed meanwhile`);
  return { clusterId, incarnation };
}
