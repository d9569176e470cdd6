import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createSeededRandom } from "../../../sim/random.ts";
import { chooseCatalogVoters } from "./catalog-voters.ts";
import { placePartitions } from "./placement.ts";

describe("placing new partitions", () => {
  test("keeps replicas and first leaders within one of each other, whatever topics come one after the other", () => {
    for (let seed = 0; seed < 150; seed += 1) {
      const random = createSeededRandom(`placement ${seed}`);
      const loads = namesOf(1 + random.integer(9)).map((name) => ({ name, replicas: 0, leaders: 0 }));
      for (let topic = 0; topic < 30; topic += 1) {
        const replicationFactor = 1 + random.integer(Math.min(5, loads.length));
        const placed = placePartitions({
          loads,
          count: 1 + random.integer(random.pick([1, 3, 20])),
          replicationFactor,
          random,
        });
        for (const replicas of placed) {
          assert.equal(new Set(replicas).size, replicationFactor);
          for (const load of loads) {
            if (replicas.includes(load.name)) load.replicas += 1;
            if (replicas[0] === load.name) load.leaders += 1;
          }
        }
        assert.ok(spread(loads.map(({ replicas }) => replicas)) <= 1, `seed ${seed}: ${JSON.stringify(loads)}`);
        assert.ok(spread(loads.map(({ leaders }) => leaders)) <= 1, `seed ${seed}: ${JSON.stringify(loads)}`);
      }
    }
  });

  test("fills up who has less, and never puts two replicas on one node", () => {
    const random = createSeededRandom("uneven");
    const loads = [
      { name: "n1", replicas: 10, leaders: 4 },
      { name: "n2", replicas: 10, leaders: 6 },
      { name: "n3", replicas: 0, leaders: 0 },
      { name: "n4", replicas: 4, leaders: 2 },
    ];
    const placed = placePartitions({ loads, count: 8, replicationFactor: 2, random });
    assert.ok(placed.every((replicas) => replicas.includes("n3")));
    assert.equal(placed.filter((replicas) => replicas.includes("n4")).length, 7, "then n1 and n2 have as few");
    assert.ok(placed.filter(([leader]) => leader === "n3").length >= 4);
  });

  test("a thousand partitions on three nodes are led by 333 or 334 each, one at a time or all at once", () => {
    const random = createSeededRandom("thousand");
    const loads = namesOf(3).map((name) => ({ name, replicas: 0, leaders: 0 }));
    const placed = placePartitions({ loads, count: 1_000, replicationFactor: 3, random });
    const counts = loads.map(({ name }) => placed.filter(([leader]) => leader === name).length);
    assert.deepEqual(
      counts.toSorted((a, b) => a - b),
      [333, 333, 334],
    );
  });

  test("the partitions of one node have their other replicas all over the cluster", () => {
    const random = createSeededRandom("mixed");
    const loads = namesOf(9).map((name) => ({ name, replicas: 0, leaders: 0 }));
    const placed = placePartitions({ loads, count: 90, replicationFactor: 3, random });
    const others = new Set(placed.filter((replicas) => replicas.includes("n1")).flat());
    assert.equal(others.size, 9);
  });
});

describe("placing while nodes are down", () => {
  const loads = namesOf(5).map((name) => ({ name, replicas: 0, leaders: 0 }));
  const place = (up: readonly string[], replicationFactor: number) =>
    placePartitions({
      loads,
      count: 40,
      replicationFactor,
      random: createSeededRandom("down"),
      isUp: (name) => up.includes(name),
    });

  test("those that are up have everything, evenly, where they are enough", () => {
    const placed = place(["n1", "n3", "n4", "n5"], 3);
    const counts = namesOf(5).map((name) => placed.filter((replicas) => replicas.includes(name)).length);
    assert.deepEqual(counts, [30, 0, 30, 30, 30]);
    assert.ok(spread(["n1", "n3", "n4", "n5"].map((name) => placed.filter(([leader]) => leader === name).length)) <= 1);
  });

  test("all that are up are taken before one that is down, and lead", () => {
    for (const replicas of place(["n2", "n4"], 3)) {
      assert.ok(replicas.includes("n2") && replicas.includes("n4"));
      assert.ok(["n2", "n4"].includes(replicas[0] ?? ""));
      assert.equal(new Set(replicas).size, 3);
    }
  });

  test("when none is up it goes on as if all were", () => {
    const placed = place([], 3);
    assert.ok(spread(namesOf(5).map((name) => placed.filter((replicas) => replicas.includes(name)).length)) <= 1);
  });
});

describe("the voters of group 0", () => {
  const nodes = (count: number) =>
    namesOf(count).map((name, incarnation) => ({ name, isVoter: false, isDraining: false, isGone: false, incarnation }));

  test("are three, five from five nodes on, and all of fewer", () => {
    assert.deepEqual(
      [1, 2, 3, 4, 5, 9].map((count) => chooseCatalogVoters(nodes(count)).length),
      [1, 2, 3, 3, 5, 5],
    );
  });

  test("stay who they are, whoever comes; but for who drains or is gone, when another is there", () => {
    const [n1, n2, n3, n4] = nodes(4).map((node) => ({ ...node, isVoter: node.name !== "n1" }));
    assert.ok(n1 !== undefined && n2 !== undefined && n3 !== undefined && n4 !== undefined);
    assert.deepEqual(chooseCatalogVoters([n1, n2, n3, n4]), ["n2", "n3", "n4"]);
    assert.deepEqual(chooseCatalogVoters([n1, { ...n2, isDraining: true }, n3, n4]), ["n3", "n4", "n1"]);
    assert.deepEqual(chooseCatalogVoters([n1, { ...n2, isGone: true }, n3, n4]), ["n3", "n4", "n1"]);
    assert.deepEqual(chooseCatalogVoters([{ ...n2, isGone: true }, n3, n4]), ["n3", "n4", "n2"], "nobody else is there");
  });
});

function namesOf(count: number): string[] {
  return Array.from({ length: count }, (_, number) => `n${number + 1}`);
}

function spread(counts: readonly number[]): number {
  return Math.max(...counts) - Math.min(...counts);
}
