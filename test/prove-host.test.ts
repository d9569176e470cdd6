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

  test("refuses minutes that are none", () => {
    for (const minutes of ["0", "-1", "long"]) {
      const { status, stderr } = proveHost([`--minutes=${minutes}`], {});
      assert.equal(status, 2);
      assert.equal(stderr, `prove-host: MINUTES is a number above 0: ${minutes}\n`);
    }
  });
});

function proveHost(parameters: readonly string[], env: NodeJS.ProcessEnv) {
  return spawnSync(process.execPath, [join(repository, "test/host/run.ts"), ...parameters], { encoding: "utf8", env });
}
