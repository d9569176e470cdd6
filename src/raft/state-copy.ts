import { unreachable } from "../base/assert.ts";
import type { ByteWindow } from "./byte-window.ts";
import type { FakeReplica } from "./fake-replica.ts";
import type { ForwardedReads } from "./forwarded-reads.ts";
import type { Flow } from "./progress.ts";
import { Raft } from "./raft.ts";
import type { RaftState } from "./raft-state.ts";
import type { Role } from "./role.ts";

/** A copy to go on from while the other stays as it is. What never changes is shared: messages, entries, memberships, logs. */
export function copyReplica(replica: FakeReplica): FakeReplica {
  return { ...replica, raft: new Raft(copyState(replica.raft.state)), disk: { ...replica.disk } };
}

function copyState(state: RaftState): RaftState {
  const { log, effects } = state;
  return {
    ...state,
    hardState: { ...state.hardState },
    log: {
      ...log,
      termHistory: [...log.termHistory],
      memberships: [...log.memberships],
      pending: { ...log.pending, entries: [...log.pending.entries] },
    },
    role: copyRole(state.role),
    lostNodes: new Set(state.lostNodes),
    effects: {
      ...effects,
      held: [...effects.held],
      messages: [...effects.messages],
      sends: [...effects.sends],
      catchUps: [...effects.catchUps],
      withdrawals: [...effects.withdrawals],
      reads: [...effects.reads],
    },
  };
}

function copyRole(role: Role): Role {
  switch (role.kind) {
    case "follower":
      return { ...role, forwarded: copyForwarded(role.forwarded) };
    case "pre-candidate":
    case "candidate":
      return { ...role, votes: [...role.votes] };
    case "leader":
      return {
        ...role,
        leaving: [...role.leaving],
        peers: role.peers.map((peer) => ({ ...peer, flow: copyFlow(peer.flow) })),
        uncommitted: copyWindow(role.uncommitted),
        reads: { ...role.reads, waiting: [...role.reads.waiting] },
        handover: role.handover === undefined ? undefined : { ...role.handover },
      };
    default:
      return unreachable(role);
  }
}

function copyForwarded({ recent, older, elapsed }: ForwardedReads): ForwardedReads {
  return { recent: new Map(recent), older: new Map(older), elapsed };
}

function copyFlow(flow: Flow): Flow {
  return flow.kind === "replicate" ? { ...flow, inflight: copyWindow(flow.inflight) } : { ...flow };
}

function copyWindow(window: ByteWindow): ByteWindow {
  return { ...window, items: [...window.items] };
}
