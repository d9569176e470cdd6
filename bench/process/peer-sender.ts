import { once } from "node:events";
import { connect } from "node:net";
import { KiB, MiB } from "../../src/base/units.ts";
import type { PeerMessage } from "../../src/replica/peer-network.ts";
import { openPeerEnd } from "./peer-end.ts";
import { say } from "./say.ts";

/** Sends to the receiver at `argv[3]`, by our transport or a bare socket (`argv[2]`): `argv[5]` times what `argv[4]` says. */
const [, , side, address = "", what = "appends", total = "1"] = process.argv;
const count = Number(total);

/** What is under way: appends of one group, or a round of heartbeats of as many groups. */
const appendsOutstanding = 64;
const groups = Array.from({ length: 1_000 }, (_, group) => `00000000-0000-4000-8000-${`${group}`.padStart(12, "0")}`);
const entry = Buffer.alloc(64 * KiB, "x");
/** As our transport has them on the wire, but for what frames add. */
const heartbeatBytes = 26;
const answerBytes = 22;

if (side === "ours") await sendOurs();
else await sendBare();

async function measure(run: (wanted: number) => Promise<void>): Promise<void> {
  await run(count / 4);
  const startMs = performance.now();
  await run(count);
  say({ perSecond: (1000 * count) / (performance.now() - startMs) });
}

async function sendOurs(): Promise<void> {
  let onAnswer: (kind: string) => void = () => {};
  const { promise: isUp, resolve: up } = Promise.withResolvers<void>();
  const { peers } = await openPeerEnd("sender", {
    received: (_from, _groupId, { message }) => onAnswer(message.kind),
    connected: () => up(),
  });
  peers.setPeers([{ nodeId: "receiver", address }]);
  await isUp;
  await peers.ask({ nodeId: "receiver" }, "dial", Buffer.alloc(0));

  const envelope = { from: "sender", fromStorage: "storage-sender/1", to: "receiver", term: 3 } as const;
  const send = (groupId: string, message: PeerMessage): void => {
    if (!peers.send("receiver", groupId, message)) throw new Error("the buffer is full");
  };
  const sendAppend = (prevIndex: number): void =>
    send(groups[0] ?? "", {
      message: { kind: "append", ...envelope, prevIndex, prevTerm: 3, entries: [], commitIndex: prevIndex },
      frames: [entry],
    });
  const sendHeartbeat = (groupId: string): void =>
    send(groupId, {
      message: { kind: "heartbeat", ...envelope, commitIndex: 1_000_000, matchIndex: 1_000_000, round: 1 },
      frames: [],
    });

  if (what === "behind") return await sendBehind();
  await measure(run);

  function run(wanted: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    let sent = 0;
    let answered = 0;
    const fill = (): void => {
      if (what === "appends") {
        for (; sent < wanted && sent - answered < appendsOutstanding; sent += 1) sendAppend(sent);
      } else if (sent === answered) {
        sent += groups.length;
        for (const groupId of groups) sendHeartbeat(groupId);
      }
    };
    onAnswer = () => {
      answered += 1;
      if (answered >= wanted) resolve();
      else fill();
    };
    fill();
    return promise;
  }

  /** A heartbeat of another group right behind 4 MiB of appends, and one that is alone. */
  async function sendBehind(): Promise<void> {
    const timesUs = { behind: [] as number[], alone: [] as number[] };
    for (let turn = 0; turn < 2 * count; turn += 1) {
      const isBehind = turn % 2 === 0;
      const all = Promise.withResolvers<void>();
      const sentMs = performance.now();
      let left = isBehind ? (4 * MiB) / entry.length + 1 : 1;
      onAnswer = (kind) => {
        if (kind === "heartbeat-response") timesUs[isBehind ? "behind" : "alone"].push(1000 * (performance.now() - sentMs));
        left -= 1;
        if (left === 0) all.resolve();
      };
      if (isBehind) {
        for (let index = 0; index < 32; index += 1) sendAppend(index);
        // In a turn of its own, when a part of them is with the socket.
        await new Promise((resolve) => void setImmediate(resolve));
        for (let index = 32; index < 64; index += 1) sendAppend(index);
      }
      sendHeartbeat(groups[1] ?? "");
      await all.promise;
    }
    const medianOf = (times: number[]): number => times.sort((one, other) => one - other)[times.length >> 1] ?? Number.NaN;
    say({ behindUs: medianOf(timesUs.behind), aloneUs: medianOf(timesUs.alone) });
  }
}

async function sendBare(): Promise<void> {
  const [host, port] = address.split(":");
  const socket = connect({ host: host ?? "", port: Number(port), noDelay: true });
  await once(socket, "connect");
  const bytes = what === "appends" ? entry.length : heartbeatBytes * groups.length;
  const each = what === "appends" ? 1 : groups.length;
  const outstanding = what === "appends" ? appendsOutstanding : 1;
  const head = Buffer.alloc(8);
  head.writeUInt32LE(bytes);
  head.writeUInt32LE(each * answerBytes, 4);
  const body = Buffer.alloc(bytes, "x");
  await measure(run);

  function run(wanted: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    let sent = 0;
    let answeredBytes = 0;
    const fill = (): void => {
      const answered = Math.floor(answeredBytes / (each * answerBytes));
      socket.cork();
      for (; sent * each < wanted && sent - answered < outstanding; sent += 1) {
        socket.write(head);
        socket.write(body);
      }
      socket.uncork();
      if (answered * each < wanted) return;
      socket.off("data", onData);
      resolve();
    };
    const onData = (chunk: Buffer): void => {
      answeredBytes += chunk.length;
      fill();
    };
    socket.on("data", onData);
    fill();
    return promise;
  }
}

process.exit(0);
