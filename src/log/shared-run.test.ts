import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SharedRun } from "./shared-run.ts";

describe("work that several wait for", () => {
  /** Ends with "done" when it is let, and with "stopped" once its signal is aborted. */
  function begin(): { readonly run: SharedRun<string>; readonly finish: () => void } {
    const { promise, resolve } = Promise.withResolvers<string>();
    const run = new SharedRun((signal) => {
      signal.addEventListener("abort", () => resolve("stopped"));
      return promise;
    });
    return { run, finish: () => resolve("done") };
  }

  test("goes on when one of them gives up, who waits no longer", async () => {
    for (const isFirst of [true, false]) {
      const { run, finish } = begin();
      const signal = new AbortController();
      const waits = isFirst ? [run.wait(signal.signal), run.wait()] : [run.wait(), run.wait(signal.signal)];
      signal.abort();
      assert.equal(await waits[isFirst ? 0 : 1], undefined);
      assert.equal(run.isStopped, false);
      finish();
      assert.equal(await waits[isFirst ? 1 : 0], "done");
    }
  });

  test("ends when all of them have given up, the last of whom gets what was done", async () => {
    const { run } = begin();
    const signal = new AbortController();
    const first = run.wait(signal.signal);
    const second = run.wait(AbortSignal.abort());
    assert.deepEqual([await second, run.isStopped], [undefined, false]);
    signal.abort();
    assert.deepEqual([await first, run.isStopped], ["stopped", true]);
  });

  test("fails for all of them", async () => {
    const run = new SharedRun(() => Promise.reject(new Error("no")));
    await Promise.all([assert.rejects(run.wait(), /no/), assert.rejects(run.wait(new AbortController().signal), /no/)]);
  });
});
