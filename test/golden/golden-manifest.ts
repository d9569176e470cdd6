import type { Manifest } from "../../src/log/manifest.ts";

/**
 * The manifest whose bytes are kept in the repository: what one version wrote, every later one has to read. It has each field of
 * docs/format.md, each setting that a topic may have, and one that only a later version knows.
 */
export const goldenManifest: Manifest = {
  generation: 41,
  storageId: "00112233445566778899aabbccddeeff",
  topics: [
    {
      name: "orders",
      uuid: uuid(1),
      createdAt: 1_760_000_000_000,
      partitions: [2, 3, 4].map((number, partition) => ({ partition, uuid: uuid(number) })),
      settings: {
        retentionMs: 604_800_000,
        retentionBytes: "unlimited",
        segmentBytes: 67_108_864,
        segmentMs: 86_400_000,
        compression: "zstd",
        maxRecordBytes: 65_536,
        timestampType: "append",
        deepCheck: true,
        cleanup: "both",
        tombstoneRetentionMs: 3_600_000,
        ofALaterVersion: { note: "kept as it is" },
      },
    },
    {
      name: "default",
      uuid: uuid(5),
      createdAt: 1_760_000_000_001,
      partitions: [{ partition: 0, uuid: uuid(6) }],
      settings: {},
    },
  ],
  deleted: [uuid(7)],
  policy: "as it was set, äöü\n",
};

function uuid(number: number): string {
  return `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;
}
