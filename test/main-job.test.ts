import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { makeFolder, serve } from "./command-process.ts";
import { repository } from "./source-code.ts";

// The command line's half of the main job is in cli-process.test.ts.
test("a real file's lines, sent over HTTP by many at once to a node that is killed amid them, are back as far as they were acknowledged", async () => {
  using folder = makeFolder();
  const lines = readFileSync(join(repository, "package-lock.json"), "utf8").split("\n");
  const acknowledged = new Map<number, string>();
  for (const killAt of [100, 250, 400]) {
    const { command, url } = await serve(folder.path);
    await using _ = command;
    for (const [offset, line] of acknowledged) {
      const { record } = (await (await fetch(`${url}/?offset=${offset}`)).json()) as { record: { value: string } };
      assert.equal(Buffer.from(record.value, "base64").toString(), line);
    }
    let next = 0;
    const send = async (): Promise<void> => {
      for (;;) {
        const line = lines[next % lines.length] ?? "";
        next += 1;
        const body = JSON.stringify({ record: { value: Buffer.from(line).toString("base64") } });
        const answer = await fetch(`${url}/`, { method: "POST", body });
        const { offset } = (await answer.json()) as { offset: number };
        assert.equal(acknowledged.get(offset), undefined, `offset ${offset} was given out twice`);
        acknowledged.set(offset, line);
        if (acknowledged.size === killAt) command.child.kill("SIGKILL");
      }
    };
    const ends = await Promise.allSettled(Array.from({ length: 8 }, send));
    for (const end of ends) {
      assert.ok(
        end.status === "rejected" && end.reason instanceof TypeError,
        "a request fails once the node is gone, and not before",
      );
    }
    assert.equal((await command.exit()).signal, "SIGKILL");
    assert.ok(acknowledged.size >= killAt);
  }
});
