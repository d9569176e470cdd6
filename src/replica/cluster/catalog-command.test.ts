import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { createSeededRandom } from "../../../sim/random.ts";
import { nodeNameMaxChars } from "../../base/cluster-limits.ts";
import { recordMaxBytes } from "../../base/limits.ts";
import { applyCommand } from "./apply-command.ts";
import { type CatalogCommand, decodeCommand, encodeCommand } from "./catalog-command.ts";
import { emptyCatalogState } from "./catalog-state.ts";
import { randomCommand } from "./random-commands.ts";

const uuid = "11111111-0000-4000-8000-000000000000";

describe("a command's record", () => {
  test("holds the command", () => {
    for (let seed = 0; seed < 10; seed += 1) {
      const random = createSeededRandom(`command ${seed}`);
      const state = emptyCatalogState();
      for (let offset = 0; offset < 100; offset += 1) {
        const command = randomCommand(random, state, offset);
        applyCommand(state, command, offset);
        assert.deepEqual(decodeCommand(encodeCommand(command)), command);
      }
    }
  });

  test("that isn't one says what is wrong, and never throws", () => {
    const id = "c1";
    const cases: readonly (readonly [value: unknown, reason: string | RegExp])[] = [
      [[], "a command is no object"],
      [{}, `"kind" of a command is missing`],
      [{ kind: "make-tea", id }, `"make-tea" is no kind of command`],
      [{ kind: "toString", id }, `"toString" is no kind of command`],
      [{ kind: "set-policy", policy: "" }, `"id" of a command is missing`],
      [{ kind: "set-policy", id, policy: 5 }, /^"policy" of a command isn't/],
      [{ kind: "set-policy", id, policy: "", since: 2 }, `a command has an unknown field "since"`],
      [{ kind: "raise-version", id, version: 0 }, /^"version" of a command isn't a whole number from 1 on/],
      [{ kind: "raise-version", id, version: 2 ** 53 }, /isn't a whole number/],
      [{ kind: "remove-node", id, name: "a\nb", isForced: false }, /^"name" of a command/],
      [{ kind: "remove-node", id, name: "n".repeat(nodeNameMaxChars + 1), isForced: false }, /^"name" of a command/],
      [{ kind: "placement-done", id, group: "../../etc", basis: 0 }, /^"group" of a command/],
      [{ kind: "forget-deleted", id, node: "n1", groups: ["x"] }, "a group's id isn't a uuid"],
      [createTopic(noPlaces), "it has no partition"],
      [createTopic({ nodes: ["n1"], partitions: [{ uuid, replicas: [] }] }), "a partition has no replica"],
      [createTopic({ nodes: ["n1"], partitions: [{ uuid, replicas: [1] }] }), "a replica's node isn't one of those listed"],
      [
        { ...createTopic(noPlaces), placed: { nodes: ["n1"], partitions: [{ uuid, replicas: [0], at: 1 }] } },
        `a partition has an unknown field "at"`,
      ],
    ];
    for (const [value, reason] of cases) {
      const decoded = decodeCommand(Buffer.from(JSON.stringify(value)));
      assert.ok(decoded.kind === "malformed", JSON.stringify(value));
      if (typeof reason === "string") assert.equal(decoded.reason, reason);
      else assert.match(decoded.reason, reason);
    }
    assert.equal(decodeCommand(Buffer.from([0x22, 0xff, 0x22])).kind, "malformed");
    fc.assert(
      fc.property(fc.uint8Array(), fc.json(), (bytes, json) => {
        assert.equal(decodeCommand(Buffer.from(bytes)).kind, "malformed");
        assert.equal(decodeCommand(Buffer.from(json)).kind, "malformed");
      }),
    );
  });

  test("of a topic of 10,000 partitions with five replicas on a hundred nodes is within a record's limit", () => {
    const nodes = Array.from({ length: 100 }, (_, number) => `n${number}`.padEnd(nodeNameMaxChars, "."));
    const partitions = Array.from({ length: 10_000 }, () => ({ uuid, replicas: [95, 96, 97, 98, 99] }));
    const command = createTopic({ nodes, partitions });
    assert.ok(encodeCommand(command).length <= recordMaxBytes);
  });
});

const noPlaces = { nodes: ["n1"], partitions: [] };

function createTopic(placed: Extract<CatalogCommand, { kind: "create-topic" }>["placed"]): CatalogCommand {
  return { kind: "create-topic", id: "c1", name: "orders", uuid, createdAt: 1, replicationFactor: 1, settings: {}, placed };
}
