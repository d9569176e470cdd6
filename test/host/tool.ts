import { spawnSync } from "node:child_process";
import { messageOf } from "../../src/base/error.ts";

/** Runs one of the system's commands to its end. Throws what it says when it fails. */
export function runTool(command: string, ...parameters: readonly string[]): string {
  const { status, signal, stdout, stderr, error } = spawnSync(command, parameters, { encoding: "utf8" });
  if (error !== undefined) throw new Error(`Cannot run ${command}: ${error.message}`, { cause: error });
  if (status === 0) return stdout;
  const said = `${stderr}${stdout}`.trim();
  throw new Error(`Cannot run ${command} ${parameters.join(" ")}: it ended with ${status ?? signal}: ${said}`);
}

/** What keeps this from being done here; undefined when it can be. */
export function reasonAgainst(attempt: () => unknown): string | undefined {
  try {
    attempt();
    return undefined;
  } catch (error) {
    return messageOf(error).split("\n")[0];
  }
}
