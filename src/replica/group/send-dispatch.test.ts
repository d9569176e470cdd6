import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { memberOf } from "../../../test/test-group.ts";
import type { Frame } from "../../log/frame.ts";
import type { StampedEntry } from "../../log/stamped-entry.ts";
import type { SendOrder } from "../../raft/ready.ts";
import type { PeerMessage } from "../peer-network.ts";
import { SendDispatch } from "./send-dispatch.ts";

const order: SendOrder = {
  id: 4,
  to: "n2",
  term: 3,
  generation: 1,
  prevIndex: 10,
  prevTerm: 2,
  commitIndex: 9,
  maxBytes: 1_000,
};

describe("a send order", () => {
  test("is sent from memory while its entries are still to be written", () => {
    const { dispatch, told, sent } = begin({ unwritten: [entry(11), entry(12)] });
    dispatch.dispatch(order);
    assert.deepEqual(told, ["sent 4 up to 12, 2 bytes"]);
    assert.deepEqual(
      sent.map(({ message, frames }) => [message.kind, message.term, frames.length]),
      [["append", 3, 2]],
    );
  });

  test("is read otherwise, and sent when its entries are at hand", async () => {
    const { dispatch, told, read } = begin();
    dispatch.dispatch(order);
    assert.deepEqual(told, []);
    await read([entry(11)]);
    assert.deepEqual(told, ["sent 4 up to 11, 1 bytes"]);
  });

  for (const [what, change, entries] of [
    ["the term is another", { term: 4 }, [entry(11)]],
    ["the log was truncated", { generation: 2 }, [entry(11)]],
    ["an entry is of another term than the core has there", { terms: new Map([[11, 2]]) }, [entry(11)]],
    ["the entries aren't those behind the one before", {}, [entry(12)]],
    ["there are none any more", {}, []],
  ] as const) {
    test(`is dropped, and the core told so, where ${what} by the time they are read`, async () => {
      const { dispatch, told, sent, read, raft } = begin();
      dispatch.dispatch(order);
      Object.assign(raft, change);
      await read(entries);
      assert.deepEqual([told, sent], [["unreachable"], []]);
    });
  }

  test("is dropped where the network takes it no further, and where it asks for what isn't in the log", () => {
    const dropped = begin({ unwritten: [entry(11)], takes: false });
    dropped.dispatch.dispatch(order);
    assert.deepEqual(dropped.told, ["unreachable"]);
    for (const log of [
      { lastIndex: 10, baseIndex: 0 },
      { lastIndex: 20, baseIndex: 11 },
    ]) {
      const elsewhere = begin(log);
      elsewhere.dispatch.dispatch(order);
      assert.deepEqual(elsewhere.told, ["unreachable"]);
    }
  });

  test("of a peer that can't be reached any more is forgotten, whatever is still read for it", async () => {
    const { dispatch, told, sent, read } = begin();
    dispatch.dispatch(order);
    dispatch.forget("n2");
    dispatch.dispatch({ ...order, id: 5 });
    await read([entry(11)]);
    assert.deepEqual([told, sent], [[], []]);
    await read([entry(11)]);
    assert.deepEqual(told, ["sent 5 up to 11, 1 bytes"]);
  });

  test("whose entries can't be read is dropped, and the replica hears why", async () => {
    const { dispatch, told, failRead } = begin();
    dispatch.dispatch(order);
    await failRead(new Error("rotten"));
    assert.deepEqual(told, ["unreachable", "read failed: rotten"]);
  });
});

function entry(index: number): Frame {
  const stamped: StampedEntry = {
    kind: "no-op",
    index,
    term: 3,
    span: 0,
    baseOffset: 0,
    appendTime: 1,
    flags: 0,
    payload: Buffer.alloc(0),
  };
  return { ...stamped, syncedBack: 1, position: 0, byteLength: 56 };
}

function begin({
  unwritten = [],
  takes = true,
  lastIndex = 20,
  baseIndex = 0,
}: {
  readonly unwritten?: readonly StampedEntry[];
  readonly takes?: boolean;
  readonly lastIndex?: number;
  readonly baseIndex?: number;
} = {}) {
  const told: string[] = [];
  const sent: PeerMessage[] = [];
  const reads: PromiseWithResolvers<readonly Frame[]>[] = [];
  const raft = {
    term: 3,
    generation: 1,
    terms: new Map<number, number>(),
    termAt: (index: number): number => raft.terms.get(index) ?? 3,
    sent: (report: { order: number; lastIndex: number; bytes: number }) =>
      void told.push(`sent ${report.order} up to ${report.lastIndex}, ${report.bytes} bytes`),
    unreachable: () => void told.push("unreachable"),
  };
  const dispatch = new SendDispatch({
    self: memberOf("n1"),
    log: {
      last: { index: lastIndex, term: 3, nextOffset: 0, appendTime: 1 },
      base: { index: baseIndex, term: 1, nextOffset: 0 },
      read() {
        const pending = Promise.withResolvers<readonly Frame[]>();
        reads.push(pending);
        return pending.promise;
      },
      encodeForPeer: () => Buffer.alloc(1),
    },
    raft,
    writer: { unwritten: () => unwritten.map((one) => ({ entry: one, frame: Buffer.alloc(1) })) },
    send(message) {
      if (takes) sent.push(message);
      return takes;
    },
    act: (event) => event(),
    readFailed: (error) => void told.push(`read failed: ${error instanceof Error ? error.message : ""}`),
  });
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  return {
    dispatch,
    told,
    sent,
    raft,
    read: async (entries: readonly Frame[]): Promise<void> => {
      reads.shift()?.resolve(entries);
      await turn();
    },
    failRead: async (error: Error): Promise<void> => {
      reads.shift()?.reject(error);
      await turn();
    },
  };
}
