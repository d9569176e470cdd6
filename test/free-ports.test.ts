import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { findFreePorts } from "./free-ports.ts";

test("a port that was found isn't found by another run, though nobody listens there", async () => {
  const mine = await findFreePorts(20);
  // It would begin where this one did.
  const found = `
    Object.defineProperty(process, "pid", { value: ${process.pid} });
    const { findFreePorts } = await import(${JSON.stringify(join(import.meta.dirname, "free-ports.ts"))});
    console.log((await findFreePorts(20)).join());`;
  const theirs = execFileSync(process.execPath, ["--input-type=module", "--eval", found], { encoding: "utf8" });
  const both = [...mine, ...theirs.trim().split(",").map(Number)];
  assert.equal(new Set(both).size, 40);
});
