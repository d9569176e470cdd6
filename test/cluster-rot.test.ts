import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createSeededRandom } from "../sim/random.ts";
import { ClusterProcesses, type MemberProcess } from "./cluster-processes.ts";
import { makeFolder } from "./command-process.ts";
import { checkUnderLoad, readReplica } from "./recorded-clients.ts";
import { flip, rot, type RotKind, rotKinds } from "./rotten-files.ts";
import { waitUntil } from "./wait-until.ts";

/** With PROVE=1 over and over, file by file: where, and how many bits, is drawn. */
const isProving = process.env["PROVE"] !== undefined;
const rounds = isProving ? 10 : 1;

/** A topic's segments hold a few dozen records each, so that there are several to rot. */
const settings = { segmentBytes: "1KiB" };

describe("a cluster whose files rot repairs them from each other, loses nothing, and shows nothing wrong", () => {
  test("whatever rots", { timeout: rounds * 180_000 }, async (context) => {
    using folder = makeFolder();
    await using cluster = await ClusterProcesses.form(folder);
    for (let round = 0; round < rounds; round += 1) {
      const random = createSeededRandom(`cluster-rot/${round}`);
      const draw = (below: number): number => random.integer(below);
      const kinds = rotKinds.filter((kind) => kind !== "node record");
      // A bit in each file at once; each by itself, and many bits, where there is time.
      const courses: readonly (readonly RotKind[])[] = isProving ? kinds.map((kind) => [kind]) : [quick];
      for (const [number, course] of courses.entries())
        await context.test(`on one node: ${course.join(", ")}`, async () => {
          const topic = `kept-${round}-${number}`;
          await checkUnderLoad(
            cluster,
            topic,
            async (clients) => {
              await clients.untilAcknowledged(100);
              const victim = memberAt(cluster, draw(3));
              // Rot where an unclean stop has to read is another replica's making: it is begun anew.
              const isKilled = !course.includes("active store") && draw(2) === 0;
              await victim.end(isKilled ? "SIGKILL" : "SIGTERM");
              const group = await groupOf(cluster, topic, victim);
              const bits = isProving ? 1 + draw(8) : 1;
              const places = course.map((kind) => rot(victim.directory, kind, { group, draw, bits }));
              assert.ok(places.some((place) => place !== undefined));
              victim.start();
              await victim.untilServing();
              await untilReadable(victim, topic);
              if (course.includes("sealed store")) assert.ok((await repairedEntries(victim)) > 0, "nothing was repaired");
              await clients.untilAcknowledged(20);
            },
            settings,
          );
        });

      await context.test("on each node, another segment of each", async () => {
        const topic = `helix-${round}`;
        await checkUnderLoad(
          cluster,
          topic,
          async (clients) => {
            await clients.untilAcknowledged(150);
            const group = await groupOf(cluster, topic);
            await Promise.all(cluster.members.map((member) => member.end("SIGKILL")));
            const places = cluster.members.map(({ directory }, segment) =>
              rot(directory, "sealed store", { group, draw, segment, bits: isProving ? 1 + draw(8) : 1 }),
            );
            assert.equal(new Set(places.map((place) => place?.path.slice(-26))).size, 3);
            for (const member of cluster.members) member.start();
            for (const member of cluster.members) {
              await member.untilServing();
              await untilReadable(member, topic);
              assert.ok((await repairedEntries(member)) > 0, `${member.name} repaired nothing`);
            }
          },
          settings,
        );
      });
    }

    await context.test("a node whose own record rots doesn't start, and says why", async () => {
      const member = memberAt(cluster, 0);
      await member.end("SIGTERM");
      const place = rot(member.directory, "node record", { group: "", draw: () => 3 });
      assert.ok(place !== undefined);
      member.start();
      assert.match(await member.failure(), /MANIFEST_CORRUPT/);
      flip(place);
      member.start();
      await cluster.untilWell();
    });
    await context.test("and their files hold the same", async () => {
      await cluster.endAndCompare();
    });
  });
});

const quick: readonly RotKind[] = [
  "sealed store",
  "sealed index",
  "active index",
  "time index",
  "sync mark",
  "base record",
  "hard state",
];

function memberAt({ members }: ClusterProcesses, number: number): MemberProcess {
  const member = members[number];
  assert.ok(member !== undefined);
  return member;
}

/** Its uuid names the directory. */
async function groupOf(cluster: ClusterProcesses, topic: string, except?: MemberProcess): Promise<string> {
  const [member] = cluster.members.filter((each) => each !== except);
  assert.ok(member !== undefined);
  const { partitions } = await cluster.connect(member).describeTopic(topic);
  return partitions[0]?.uuid ?? "";
}

/** What is read of rot is an error, until it was repaired; and never what it made of a record. */
async function untilReadable({ address }: MemberProcess, topic: string): Promise<void> {
  await waitUntil(`all of ${topic} is read at ${address}`, async () => (await readReplica(address, topic)).length > 0);
}

async function repairedEntries({ address }: MemberProcess): Promise<number> {
  const metrics = await (await fetch(`http://${address}/metrics`)).text();
  const lines = metrics.matchAll(/^proglog_group_repaired_entries_total(?:\{.*\})? (\d+)$/gm);
  return [...lines].reduce((sum, [, count]) => sum + Number(count), 0);
}
