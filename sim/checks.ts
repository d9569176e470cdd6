/**
 * What a simulated world holds to, by number. The core's own invariants (R1 to R11, docs/raft.md) are looked at after each step,
 * too.
 */
export const checks = {
  I1: "one leader a term",
  I2: "term and vote don't go back, across restarts either; commit doesn't while running, nor passes the durable log after a restart",
  I3: "entries of the same index and term are the same, byte for byte of what was sealed",
  I4: "a committed entry is on the platters of a quorum of the membership that committed it",
  I5: "a new leader has everything that was committed before",
  I6: "nobody truncates what is committed",
  I7: "quorums of memberships that follow each other intersect; a replica's membership is what its log says",
  I8: "what is acknowledged is committed",
  I9: "an offset holds one record, whoever is asked, for ever",
  I10: "a read has no gap and ends before what isn't committed",
  I11: "a linearizable read sees every append that was acknowledged before it began",
  I12: "no (producer, sequence) is there twice, though clients send again whatever they don't know to be there",
  I14: "a damaged replica is not elected",
  I15: "no file goes before a committed trim covers it",
  I16: "what is recovered has everything that was durable, and nothing that nobody wrote",
  I17: "the disk holds no more than it has room for, and every file is closed in the end",
  I18: "replicas that have caught up are equal",
  I19: "no promise is rejected unheard, and no replica stops itself for a fault of its own",
  I20: "once the network is whole and a quorum is healthy, somebody leads, everything asked is decided and everybody catches up; and a group that nobody asks sleeps, and wakes when its leader dies",
  ORDER: "the order of offsets agrees with real time",
  LOST: "an acknowledged record is at its offset",
  ABORTED: "what was refused isn't there",
  HISTORY:
    "what clients of a partition asked and were told is what one log would have answered, and all its replicas hold that log",
  CATALOG: "nodes that folded as much of group 0 have the same catalog; what it said was done is so, whoever is asked",
  ONCE: "no replica is made a second time under one incarnation",
  DELETED: "no replica's files go before the catalog has given it up",
  R: "the core's own invariants",
} as const;

export type CheckId = keyof typeof checks;

/** Those of reliability's list that need what isn't built yet. */
export const waitingChecks = {
  I13: "a consumer group's offsets rise: needs consumer groups",
} as const;
