import assert from "node:assert/strict";
import { Command } from "../command-process.ts";

/** Runs the `proglog` command to its end, which has to be a good one. */
export async function runCommand(...argv: readonly string[]): Promise<void> {
  await using command = new Command(...argv);
  assert.deepEqual(await command.exit(), { code: 0, signal: null }, command.stdout + command.stderr);
}
