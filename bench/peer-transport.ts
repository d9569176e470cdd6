import type { Bench } from "./bench.ts";
import { Child } from "./child.ts";
import { type Row, rowOf } from "./row.ts";

/** What two nodes say to each other, over the transport between them and over a bare socket, between two processes. */
export const peerTransport: Bench = {
  name: "peer-transport",
  about: "appends and heartbeats between two nodes, against a bare socket",
  async run({ choose }) {
    const rounds = choose({ quick: 2, default: 5, full: 9 });
    const share = choose({ quick: 0.2, default: 1, full: 2 });
    const receivers = { ours: new Child("peer-receiver", ["ours"]), bare: new Child("peer-receiver", ["bare"]) };
    const addresses = {
      ours: (await receivers.ours.next<{ address: string }>()).address,
      bare: (await receivers.bare.next<{ address: string }>()).address,
    };
    const send = async <Said>(side: "ours" | "bare", what: string, count: number): Promise<Said> => {
      const sender = new Child("peer-sender", [side, addresses[side], what, `${Math.ceil(count * share)}`]);
      const said = await sender.next<Said>();
      await sender.kill();
      return said;
    };
    const compare = async (
      what: string,
      count: number,
    ): Promise<{ figures: number[]; ceilings: { what: string; figures: number[] } }> => {
      const figures = { ours: [] as number[], bare: [] as number[] };
      for (let round = 0; round < rounds; round += 1)
        for (const side of round % 2 === 0 ? (["ours", "bare"] as const) : (["bare", "ours"] as const))
          figures[side].push((await send<{ perSecond: number }>(side, what, count)).perSecond);
      return { figures: figures.ours, ceilings: { what: "bare socket", figures: figures.bare } };
    };
    const rows: Row[] = [];
    try {
      rows.push(
        rowOf({
          name: "appends of 64 KiB between two nodes, 64 outstanding",
          unit: "appends/s",
          ...(await compare("appends", 40_000)),
          target: { of: "ratio", atLeast: 0.5 },
        }),
        rowOf({
          name: "heartbeats of 1,000 groups between two nodes, each answered",
          unit: "messages/s",
          ...(await compare("heartbeats", 500_000)),
          note: "the bare socket carries as many bytes and reads none of them",
        }),
      );
      const behind: number[] = [];
      const alone: number[] = [];
      for (let round = 0; round < rounds; round += 1) {
        const said = await send<{ behindUs: number; aloneUs: number }>("ours", "behind", 200);
        behind.push(said.behindUs);
        alone.push(said.aloneUs);
      }
      rows.push(
        rowOf({
          name: "a heartbeat behind 4 MiB of another group's appends, until it is answered",
          unit: "µs",
          figures: behind,
          ceilings: { what: "alone", figures: alone },
        }),
      );
    } finally {
      await Promise.all(Object.values(receivers).map((receiver) => receiver.kill()));
    }
    return rows;
  },
};
