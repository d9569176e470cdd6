import assert from "node:assert/strict";
import { test } from "node:test";
import { Turns } from "./turns.ts";

const never = new AbortController().signal;

test("turns come one after the other, in order, also behind one that fails", async () => {
  const turns = new Turns();
  const trace: string[] = [];
  const work = (name: string, gate: Promise<void>) => async (): Promise<string> => {
    trace.push(`${name} begins`);
    await gate;
    trace.push(`${name} ends`);
    if (name === "b") throw new Error("b fails");
    return name;
  };
  const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const runs = ["a", "b", "c"].map((name, i) => turns.run(never, work(name, gates[i]?.promise ?? assert.fail())));
  assert.equal(turns.waitingCount, 2);
  gates[2]?.resolve();
  gates[1]?.resolve();
  gates[0]?.resolve();
  assert.deepEqual(
    (await Promise.allSettled(runs)).map(({ status }) => status),
    ["fulfilled", "rejected", "fulfilled"],
  );
  assert.deepEqual(trace, ["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]);
  assert.equal(await turns.run(never, () => Promise.resolve("d")), "d");
});

test("who gives up waiting is passed over, and never begins", async () => {
  const turns = new Turns();
  const gate = Promise.withResolvers<void>();
  const first = turns.run(never, () => gate.promise);
  const patience = new AbortController();
  const second = turns.run(patience.signal, () => assert.fail("it gave up"));
  const third = turns.run(never, () => Promise.resolve(3));
  patience.abort();
  assert.equal(await second, undefined);
  assert.equal(turns.waitingCount, 1);
  gate.resolve();
  await first;
  assert.equal(await third, 3);
  assert.equal(await turns.run(AbortSignal.abort(), () => assert.fail("it gave up before")), undefined);
});
