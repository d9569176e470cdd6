import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { formationAddressesMaxCount, formationBodyMaxBytes, initialNodesMaxCount } from "../../base/cluster-limits.ts";
import { hex, makeProposal, makeView } from "./fake-view.ts";
import {
  decodeFormationMessage,
  decodeJoined,
  decodeJoinRequest,
  encodeFormationMessage,
  encodeJoined,
  encodeJoinRequest,
  type FormationMessage,
} from "./formation-view.ts";

describe("a message about formation", () => {
  test("is read as it was written", () => {
    const messages: readonly FormationMessage[] = [
      { view: makeView(1) },
      { view: makeView(1, { clusterId: hex(9), promise: makeProposal(9, [1, 2]), addresses: ["a:1", "[::1]:2"] }) },
      {
        view: makeView(1, { initialNodes: undefined, isBootstrapping: true }),
        proposal: makeProposal(9, [1, 2]),
        refusal: "no",
      },
    ];
    for (const message of messages) assert.deepEqual(decodeFormationMessage(encodeFormationMessage(message)), message);
    const request = { name: "n1", storageId: hex(1), address: "n1:8000" };
    assert.deepEqual(decodeJoinRequest(encodeJoinRequest(request)), request);
    const joined = { clusterId: hex(9), incarnation: 7 };
    assert.deepEqual(decodeJoined(encodeJoined(joined)), joined);
  });

  const view = JSON.parse(encodeFormationMessage({ view: makeView(1) }).toString()).view as Record<string, unknown>;
  const proposal = makeProposal(9, [1, 2]);
  const many = Array.from({ length: initialNodesMaxCount + 1 }, (_, number) => number + 1);
  const wrong: readonly (readonly [string, unknown])[] = [
    ["no object", []],
    ["no version", { view }],
    ["a later version", { version: 2, view }],
    ["no view", { version: 1 }],
    ["a name that is no text", { version: 1, view: { ...view, name: 1 } }],
    ["a storage id that is none", { version: 1, view: { ...view, storageId: "../x" } }],
    ["no run", { version: 1, view: { ...view, run: undefined } }],
    ["a boot counter below zero", { version: 1, view: { ...view, bootCounter: -1 } }],
    ["a number that is none", { version: 1, view: { ...view, initialNodes: "3" } }],
    ["no word on bootstrapping", { version: 1, view: { ...view, isBootstrapping: undefined } }],
    ["addresses that are none", { version: 1, view: { ...view, addresses: [""] } }],
    ["too many addresses", { version: 1, view: { ...view, addresses: Array(formationAddressesMaxCount + 1).fill("a:1") } }],
    ["a proposal of nobody", { version: 1, view, proposal: { ...proposal, members: [] } }],
    ["a proposal of too many", { version: 1, view, proposal: makeProposal(9, many) }],
    [
      "a proposal of one name twice",
      { version: 1, view, proposal: { ...proposal, members: [proposal.members[0], proposal.members[0]] } },
    ],
    ["a proposal whose proposer is no member", { version: 1, view, proposal: { ...proposal, proposer: hex(5) } }],
    ["a promise that is none", { version: 1, view: { ...view, promise: { ...proposal, clusterId: 1 } } }],
    ["a refusal that is no text", { version: 1, view, refusal: 7 }],
  ];
  for (const [what, json] of wrong)
    test(`of ${what} is INVALID_ARGUMENT`, () => {
      assert.throws(() => decodeFormationMessage(Buffer.from(JSON.stringify(json))), { code: "INVALID_ARGUMENT" });
    });

  test("that is no JSON, or longer than any, is INVALID_ARGUMENT; one of the most is taken", () => {
    assert.throws(() => decodeFormationMessage(Buffer.from("{")), { code: "INVALID_ARGUMENT" });
    assert.throws(() => decodeJoinRequest(Buffer.alloc(formationBodyMaxBytes + 1, " ")), { code: "INVALID_ARGUMENT" });
    const padded = Buffer.concat([encodeFormationMessage({ view: makeView(1) }), Buffer.alloc(formationBodyMaxBytes, " ")]);
    assert.deepEqual(decodeFormationMessage(padded.subarray(0, formationBodyMaxBytes)).view, makeView(1));
    const largest = makeView(1, {
      promise: makeProposal(9, many.slice(0, initialNodesMaxCount)),
      addresses: Array<string>(formationAddressesMaxCount).fill(`${"a".repeat(253)}:65535`),
    });
    assert.deepEqual(
      decodeFormationMessage(encodeFormationMessage({ view: largest, proposal: makeProposal(8, [1]) })).view,
      largest,
    );
  });
});
