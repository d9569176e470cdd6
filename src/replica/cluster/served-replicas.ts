import type { Clock } from "../../base/clock.ts";
import { isProglogError, messageOf, ProglogError } from "../../base/error.ts";
import type { Topic } from "../catalog.ts";
import type { GroupReplica } from "../group/group-replica.ts";
import type { GroupSet } from "../group/group-set.ts";
import type { ReplicaLookup } from "../node-storage.ts";
import { Replica } from "../replica.ts";
import type { CatalogState } from "./catalog-state.ts";

/** This node's replicas as those see them who serve clients: by the names that the catalog has for them, in whatever state they are. */
export class ServedReplicas implements ReplicaLookup {
  readonly #parts: ServedReplicasParts;
  readonly #served = new WeakMap<GroupReplica, Replica>();

  constructor(parts: ServedReplicasParts) {
    this.#parts = parts;
  }

  /** Undefined where there is none, or not yet. One that is moved away serves as long as it is there. */
  find(uuid: string): Replica | undefined {
    const place = this.#parts.catalog()?.groups.get(uuid);
    if (place === undefined) return undefined;
    const identity = { topic: place.topic, partition: place.partition, uuid };
    const group = this.#parts.groups()?.stateOf(uuid);
    if (group?.kind === "failed" || group?.kind === "lost") return Replica.failed(identity, asError(group.error));
    if (group?.kind !== "open") return undefined;
    const known = this.#served.get(group.member);
    if (known !== undefined) return known;
    const replica = Replica.ofGroup(identity, group.member, { clock: this.#parts.clock });
    this.#served.set(group.member, replica);
    return replica;
  }

  *values(): Generator<Replica, undefined> {
    for (const { record } of this.#parts.groups()?.states() ?? []) {
      const replica = this.find(record.groupId);
      if (replica !== undefined) yield replica;
    }
  }
}

export interface ServedReplicasParts {
  readonly clock: Clock;
  /** Undefined as long as this node knows of none. */
  readonly catalog: () => CatalogState | undefined;
  readonly groups: () => GroupSet<GroupReplica> | undefined;
}

/** The group of a partition. Throws PARTITION_NOT_FOUND. */
export function uuidOf(topic: Topic, partition: number): string {
  const uuid = topic.partitions[partition]?.uuid;
  if (uuid !== undefined) return uuid;
  throw new ProglogError(
    "PARTITION_NOT_FOUND",
    `Cannot use partition ${partition} of topic ${topic.name}: it has ${topic.partitions.length}, from 0`,
  );
}

function asError(error: unknown): ProglogError {
  if (isProglogError(error)) return error;
  return new ProglogError("INTERNAL", `Cannot use this replica: ${messageOf(error)}`, { cause: error });
}
