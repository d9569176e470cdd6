import type { NodeRecordState } from "../../src/replica/cluster/node-record-state.ts";

/** The node record whose bytes are kept in the repository: each field of docs/format.md, and each state of a replica. */
export const goldenNodeRecord: NodeRecordState = {
  generation: 41,
  storageId: hex(1),
  nodeName: "n1",
  clusterId: hex(100),
  bootCounter: 7,
  promise: {
    clusterId: hex(100),
    proposer: hex(1),
    members: [1, 2, 3].map((number) => ({ name: `n${number}`, storageId: hex(number), address: `n${number}.example:8000` })),
  },
  catalogIncarnation: 4,
  peers: [{ nodeId: "n2", address: "n2.example:8000" }],
  placedBefore: 11,
  bootCounters: new Map([
    [hex(3), { bootCounter: 2, life: undefined }],
    [hex(2), { bootCounter: 9, life: "1234567890abcdef" }],
  ]),
  replicas: [
    {
      groupId: hex(100),
      incarnation: 0,
      logId: hex(200),
      firstMembers: [1, 2, 3].map((number) => ({ nodeId: `n${number}`, storageId: `${hex(number)}/0` })),
      state: "created",
    },
    { groupId: uuid(1), incarnation: 12, logId: hex(201), firstMembers: undefined, state: "deleting" },
    { groupId: uuid(2), incarnation: 13, logId: hex(202), firstMembers: undefined, state: "deleted" },
    { groupId: uuid(2), incarnation: 17, logId: hex(203), firstMembers: undefined, state: "created" },
  ],
};

/** JSON knows no maps. */
export function nodeRecordAsJson({ bootCounters, ...state }: NodeRecordState): unknown {
  return { ...state, bootCounters: [...bootCounters] };
}

function hex(number: number): string {
  return number.toString(16).padStart(32, "0");
}

function uuid(number: number): string {
  return `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;
}
