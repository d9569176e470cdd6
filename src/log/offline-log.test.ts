import assert from "node:assert/strict";
import { test } from "node:test";
import { LogWorld } from "../../test/log-world.ts";
import type { Disk } from "../base/disk.ts";
import { withOfflineLog } from "./offline-log.ts";

test("the lock file that an offline tool made goes while it is held: afterwards it could be the next holder's", async () => {
  const world = new LogWorld();
  await (await world.open()).close();
  const { disk } = world;
  const steps: string[] = [];
  const recording: Disk = {
    open: (path, mode) => disk.open(path, mode),
    list: (directory) => disk.list(directory),
    size: (path) => disk.size(path),
    isDirectory: (path) => disk.isDirectory(path),
    makeDirectory: (directory) => disk.makeDirectory(directory),
    rename: (from, to) => disk.rename(from, to),
    remove: (path) => void steps.push(`remove ${path}`),
    removeDirectory: (directory) => disk.removeDirectory(directory),
    syncDirectory: (directory) => disk.syncDirectory(directory),
    lock: (path) => {
      steps.push(`lock ${path}`);
      return { release: () => void steps.push("release") };
    },
    canMap: () => false,
  };
  await withOfflineLog(world.directory, recording, async () => {});
  assert.deepEqual(steps, ["lock /log/lock", "remove /log/lock", "release"]);
});
