import { groupRoles } from "./cluster-metrics.ts";
import { ref, type Schema } from "./schema.ts";

const count = { type: "integer", minimum: 0 };
const name = { type: "string" };

/** Of a cluster, by the names that the API's document has for them: a part of `api-shapes.ts`. */
export function clusterShapes() {
  return {
    Replica: {
      type: "object",
      required: ["nodeId", "rpcAddr", "isVoter", "isInSync"],
      properties: {
        nodeId: { ...name, description: "The node's name." },
        rpcAddr: { ...name, description: "Where it is reached: `host:port`; empty where that isn't known." },
        isVoter: { type: "boolean", description: "It counts for a quorum; one that is catching up doesn't yet." },
        isInSync: { type: "boolean", description: "It has, or had a moment ago, all that is committed." },
        lag: { ...count, description: "Batches that the leader has and it hasn't. Absent where that isn't known." },
      },
    },
    Cluster: {
      type: "object",
      required: [
        ...["clusterId", "nodes", "groups"],
        ...["groupCount", "leaderlessCount", "underReplicatedCount", "movingCount"],
      ],
      properties: {
        clusterId: { ...name, description: "Empty on a node that is in no cluster." },
        nodes: { type: "array", items: ref("ClusterNode") },
        groups: { type: "array", items: ref("ClusterGroup") },
        groupCount: { ...count, description: "Of all groups, whatever was asked for." },
        leaderlessCount: count,
        underReplicatedCount: count,
        movingCount: count,
      },
    },
    ClusterNode: {
      type: "object",
      required: ["id", "rpcAddr", "isLeader", "state", "storageId", "isVoter", "replicaCount", "leaderCount"],
      properties: {
        id: { ...name, description: "The node's name." },
        rpcAddr: name,
        isLeader: { type: "boolean", description: "It leads the group that keeps the catalog." },
        state: { ...name, description: "`up`, `down` or `draining`; a later version may know more words." },
        storageId: name,
        isVoter: { type: "boolean", description: "It votes in the group that keeps the catalog." },
        replicaCount: count,
        leaderCount: count,
      },
    },
    ClusterGroup: {
      type: "object",
      description: "The replicas of one log, of which one leads.",
      required: ["topic", "partition", "uuid", "leaderId", "term", "replicas", "isUnderReplicated"],
      properties: {
        topic: { ...name, description: "Empty for the group that keeps the catalog." },
        partition: count,
        uuid: name,
        leaderId: { ...name, description: "Empty while nobody is known to lead it." },
        term: count,
        replicas: { type: "array", items: ref("Replica") },
        isUnderReplicated: { type: "boolean" },
        move: {
          type: "object",
          description: "Absent when its replicas are where they should be.",
          required: ["replicas", "phase"],
          properties: {
            replicas: { type: "array", items: name, description: "Nodes that are to have one, the one that is to lead first." },
            phase: { ...name, description: "`waiting`, `catching-up`, `changing` or `removing`; later ones may know more." },
          },
        },
      },
    },
    NodeAddition: {
      type: "object",
      required: ["wasDraining"],
      properties: { wasDraining: { type: "boolean", description: "It was being taken out. False: it was to stay." } },
    },
    NodeRemoval: {
      type: "object",
      required: ["isRemoved"],
      properties: { isRemoved: { type: "boolean", description: "It has left; else its replicas move to others first." } },
    },
    NewLeader: {
      type: "object",
      additionalProperties: false,
      properties: { node: { ...name, minLength: 1, description: "Absent: the one that is best placed." } },
      examples: [{ node: "n2" }],
    },
    Leader: { type: "object", required: ["leaderId"], properties: { leaderId: name } },
    NewReplicas: {
      type: "object",
      additionalProperties: false,
      required: ["nodes"],
      properties: {
        nodes: { type: "array", minItems: 1, items: { ...name, minLength: 1 }, description: "The one that is to lead first." },
      },
      examples: [{ nodes: ["n1", "n2", "n4"] }],
    },
    NodeInCluster: {
      type: "object",
      description: "Of a node that is in a cluster, or on its way into one. What isn't known yet is absent.",
      properties: {
        clusterId: name,
        nodeName: name,
        waitsFor: { ...name, description: "For people: what a node that starts waits for." },
        nodeCount: { ...count, description: "Nodes of the cluster." },
        reachedCount: { ...count, description: "Of them, those there is a way to, this one included." },
        catalog: {
          type: "object",
          required: ["isKnown", "nextOffset", "movingCount"],
          properties: {
            leaderId: name,
            isKnown: { type: "boolean", description: "This node has heard of it." },
            nextOffset: ref("Offset"),
            movingCount: { ...count, description: "Partitions that move, on the node that leads the catalog." },
          },
        },
        groups: {
          type: "object",
          description: "This node's replicas, the catalog's among them, by what they are.",
          required: [...groupRoles, "leaderless", "underReplicated"],
          properties: {
            ...Object.fromEntries(groupRoles.map((role) => [role, count] as const)),
            leaderless: { ...count, description: "Of which nobody is known to lead." },
            underReplicated: { ...count, description: "Led here, and a member isn't in sync." },
          },
        },
        unsyncedBytes: count,
        isDiskStalled: { type: "boolean" },
      },
    },
    GroupState: {
      type: "object",
      description:
        "In a cluster: the group of a partition, as this replica knows it. Indexes count batches and what lies between.",
      required: ["role", "term", "lastIndex", "durableIndex", "commitIndex", "shownIndex", "voters", "learners"],
      properties: {
        role: { enum: ["follower", "pre-candidate", "candidate", "leader"] },
        term: count,
        leaderId: name,
        lastIndex: count,
        durableIndex: count,
        commitIndex: count,
        shownIndex: { ...count, description: "Up to which readers are shown." },
        voters: { type: "array", items: name },
        learners: { type: "array", items: name },
        followers: {
          type: "array",
          description: "On the leader.",
          items: {
            type: "object",
            required: ["nodeId", "matchIndex", "flow"],
            properties: { nodeId: name, matchIndex: count, flow: { enum: ["probe", "replicate", "catch-up"] } },
          },
        },
      },
    },
  } as const satisfies Readonly<Record<string, Schema>>;
}
