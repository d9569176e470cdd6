import { open, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";

/** A small file of JSON that is replaced whole or not at all, durably: what the examples keep their offset in. */
export async function readState<State>(path: string): Promise<State | undefined> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as State;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

export async function writeState(path: string, state: unknown): Promise<void> {
  const temporaryPath = `${path}.tmp`;
  {
    await using file = await open(temporaryPath, "w");
    await file.writeFile(JSON.stringify(state));
    await file.sync();
  }
  await rename(temporaryPath, path);
  // The new name is durable only once the directory is.
  await using directory = await open(dirname(path), "r");
  await directory.sync();
}
