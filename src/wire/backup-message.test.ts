import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type BackupLog, formatBackupLog, parseBackupLog, parseBackupSegments, parseBackupTopics } from "./backup-message.ts";

const uuid = "00000000-0000-4000-8000-000000000001";
const id = "a".repeat(32);

const topics = {
  storageId: id,
  clusterId: null,
  topics: [{ name: "orders", uuid, createdAt: 1, replicationFactor: 3, settings: { retentionMs: 5 }, partitions: [uuid] }],
};
const log: BackupLog = {
  ...{ uuid, version: "0f-1-2", logId: id, baseRecord: Buffer.from([1, 2, 250]) },
  ...{ baseIndex: 0, logStartOffset: 3, lastIndex: 9, nextOffset: 8, isCompacted: false },
};
const end = { lastTerm: 2, nextOffset: 4, lastAppendTime: 5 };
const segments = {
  segments: [
    { baseIndex: 1, lastIndex: 3, bytes: 500, isSealed: true, end },
    { baseIndex: 4, lastIndex: 4, bytes: 128, isSealed: false },
  ],
};

describe("what a node says to who makes a backup", () => {
  test("is read as it was written", () => {
    assert.deepEqual(parseBackupTopics(JSON.stringify(topics)), topics);
    assert.deepEqual(parseBackupLog(JSON.stringify(formatBackupLog(log))), log);
    assert.deepEqual(parseBackupSegments(JSON.stringify(segments)), segments.segments);
  });

  test("may have more in it than is known here", () => {
    assert.deepEqual(parseBackupTopics(JSON.stringify({ ...topics, policies: [] })), topics);
  });

  test("is refused whichever field lacks or is of another kind", () => {
    const cases: readonly (readonly [unknown, (text: string) => unknown])[] = [
      [topics, parseBackupTopics],
      [formatBackupLog(log), parseBackupLog],
      [segments, parseBackupSegments],
    ];
    for (const [message, parse] of cases) {
      for (const path of pathsOf(message)) {
        // What is set for a topic is its own business, and no cluster is null.
        if (path.includes("retentionMs")) continue;
        for (const wrong of [undefined, {}, -1, "/../x"]) {
          if (wrong === undefined && path.at(-1) === "clusterId") continue;
          const changed = structuredClone(message);
          setAt(changed, path, wrong);
          const isMeant = path.at(-1) === "settings" && typeof wrong === "object";
          if (!isMeant)
            assert.throws(
              () => parse(JSON.stringify(changed)),
              { code: "INVALID_ARGUMENT" },
              `${path.join(".")}: ${JSON.stringify(wrong)}`,
            );
        }
      }
    }
    for (const text of ["", "null", "[]", "7", "<html>"])
      assert.throws(() => parseBackupTopics(text), { code: "INVALID_ARGUMENT" });
  });
});

function pathsOf(value: unknown, path: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== "object" || value === null) return [path];
  return Object.entries(value).flatMap(([name, part]) => [[...path, name], ...pathsOf(part, [...path, name])]);
}

function setAt(value: unknown, path: readonly string[], to: unknown): void {
  const last = path.at(-1) ?? "";
  const holder = path.slice(0, -1).reduce((at, name) => (at as Record<string, unknown>)[name], value) as Record<
    string,
    unknown
  >;
  // An array would only get shorter by one that is undefined.
  if (to === undefined && !Array.isArray(holder)) delete holder[last];
  else holder[last] = to ?? null;
}
