import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { fairWeather } from "../network.ts";
import { createSeededRandom } from "../random.ts";
import { drawClusterSettings } from "./cluster-settings.ts";
import { ClusterWorld } from "./cluster-world.ts";
import type { Machine } from "./machine.ts";

describe("a machine that is stopped gently", () => {
  test("is left alone by the operator, however long it takes", async () => {
    const { world, machine } = await begin();
    const { life } = machine;
    // A second and more for each sync: the operator looks several times while it closes.
    machine.slowBy = 4_000;
    const isStopped = stop(machine);
    assert.ok(await world.run(world.nowMs + 120_000, () => isStopped() || machine.life !== life));
    assert.deepEqual([machine.condition, machine.life, isStopped()], ["off", 0, true]);
  });

  test("is stopped, too, when its power goes meanwhile", async () => {
    const { world, machine } = await begin();
    machine.slowBy = 4_000;
    const isStopped = stop(machine);
    assert.ok(await world.run(world.nowMs + 1_000, isStopped));
    assert.deepEqual([machine.isClosing, isStopped()], [true, false]);
    machine.cutPower();
    assert.ok(await world.run(world.nowMs + 1_000, isStopped));
    assert.equal(isStopped(), true);
    machine.slowBy = 1;
    machine.start();
    assert.ok(await world.run(world.nowMs + 10_000, () => machine.served !== undefined));
    assert.notEqual(machine.served, undefined);
  });
});

/** Three machines that serve, with some topics. */
async function begin(): Promise<{ readonly world: ClusterWorld; readonly machine: Machine }> {
  const random = createSeededRandom("a machine");
  const drawn = drawClusterSettings(random.fork("settings"));
  const settings = { ...drawn, firstNodes: 3, spares: 0, isBootstrapped: false, operatorMeanMs: 500, weather: fairWeather };
  const world = new ClusterWorld(random.fork("world"), { ...settings, syncMeanMs: 0.3, clockSkew: 0 }, 0);
  await world.begin();
  assert.ok(await world.run(20_000, () => world.partitions.length > 2));
  world.operator.end();
  const [machine] = world.machines;
  assert.ok(machine?.served !== undefined);
  return { world, machine };
}

function stop(machine: Machine): () => boolean {
  let isStopped = false;
  machine.stopGently().then(
    () => void (isStopped = true),
    (error: unknown) => machine.foundFault(error),
  );
  return () => isStopped;
}
