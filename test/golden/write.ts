import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import packageManifest from "../../package.json" with { type: "json" };
import { encodeManifest } from "../../src/log/manifest.ts";
import { readFile } from "../../src/replica/group/hard-state-file.ts";
import { goldenStorageId, writeGoldenHardStates } from "./golden-hard-states.ts";
import { encodeNodeRecord } from "../../src/replica/cluster/node-record-state.ts";
import { goldenCatalogLog, goldenCatalogState } from "./golden-catalog.ts";
import { goldenManifest } from "./golden-manifest.ts";
import { goldenNodeRecord, nodeRecordAsJson } from "./golden-node-record.ts";
import { goldenLogs, writeGoldenLog } from "./golden-logs.ts";

/**
 * Writes the golden logs, manifest, hard states, node record and catalog of this version anew: `tools/run-node test/golden/write.ts`. To be run
 * once for a version that changes what is written, before it is released; those of released versions stay as they are for ever.
 */
const directory = join(import.meta.dirname, packageManifest.version);
rmSync(directory, { recursive: true, force: true });
for (const golden of goldenLogs) {
  const { files, records } = await writeGoldenLog(golden);
  mkdirSync(join(directory, golden.name), { recursive: true });
  for (const [name, bytes] of files) writeFileSync(join(directory, golden.name, name), bytes);
  writeFileSync(join(directory, `${golden.name}.json`), `${JSON.stringify(records, undefined, 2)}\n`);
  console.log(`${golden.name}: ${files.size} files, ${records.length} records`);
}
writeFileSync(join(directory, "manifest"), encodeManifest(goldenManifest));
writeFileSync(join(directory, "manifest.json"), `${JSON.stringify(goldenManifest, undefined, 2)}\n`);
console.log(`manifest: ${goldenManifest.topics.length} topics`);
const hardStates = await writeGoldenHardStates();
writeFileSync(join(directory, "hard-state"), hardStates);
const copies = [0, 1].map((number) =>
  hardStates.subarray((number * hardStates.length) / 2, ((number + 1) * hardStates.length) / 2),
);
const { states } = readFile("hard-state", copies, goldenStorageId);
writeFileSync(join(directory, "hard-state.json"), `${JSON.stringify([...states], undefined, 2)}\n`);
console.log(`hard states: ${states.size} groups`);
writeFileSync(join(directory, "node-record"), encodeNodeRecord(goldenNodeRecord));
writeFileSync(join(directory, "node-record.json"), `${JSON.stringify(nodeRecordAsJson(goldenNodeRecord), undefined, 2)}\n`);
console.log(`node record: ${goldenNodeRecord.replicas.length} replicas`);
const catalogLog = goldenCatalogLog();
writeFileSync(join(directory, "catalog.jsonl"), `${catalogLog.join("\n")}\n`);
writeFileSync(join(directory, "catalog-state.txt"), `${goldenCatalogState(catalogLog)}\n`);
console.log(`catalog: ${catalogLog.length} records`);
