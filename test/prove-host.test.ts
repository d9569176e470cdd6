import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, test } from "node:test";
import { makeFolder } from "./command-process.ts";
import { repository } from "./source-code.ts";

/** What it proves takes root and minutes; a host that doesn't let it is told so in any case. */
describe("make prove-host", () => {
  test("says that it is skipped, and why, where the host lacks something", () => {
    using folder = makeFolder();
    const { status, stdout } = proveHost(["--minutes", "1"], { PATH: folder.path });
    assert.equal(status, 0);
    assert.match(stdout, /^SKIPPED prove-host: (?:it takes (?:Linux|root)|there is no unshare)\n$/);
  });

  test("refuses minutes that are none, and faults that it doesn't know", () => {
    const refusals = [
      ["--minutes=long", "MINUTES is a number above 0: long"],
      ["--only=earthquake", "ONLY is a part of a fault's title: earthquake"],
    ] as const;
    for (const [flag, refusal] of refusals) {
      const { status, stderr } = proveHost([flag], {});
      assert.deepEqual([status, stderr], [2, `prove-host: ${refusal}\n`]);
    }
  });
});

function proveHost(parameters: readonly string[], env: NodeJS.ProcessEnv) {
  return spawnSync(process.execPath, [join(repository, "test/host/run.ts"), ...parameters], { encoding: "utf8", env });
}
