import { createMemoryDisk } from "../../src/base/memory-disk.ts";
import { silentLogger } from "../../src/base/logger.ts";
import { HardStateLog } from "../../src/replica/group/hard-state-log.ts";

/**
 * The file of hard states whose bytes are kept in the repository: what one version wrote, every later one has to read. It has each kind
 * of change, a round of several groups, and the round without changes of a closing.
 */
export const goldenStorageId = "00112233445566778899aabbccddeeff";

export async function writeGoldenHardStates(): Promise<Buffer> {
  const disk = createMemoryDisk();
  const log = await HardStateLog.open(disk, "/hard-state", {
    storageId: goldenStorageId,
    logger: silentLogger,
    copyMinBytes: 4096,
  });
  const [first, second, third] = [1, 2, 3].map((number) => `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`);
  const vote = { nodeId: "node-a", storageId: `${goldenStorageId}/0` };
  await log.slot(first ?? "").write({ term: 1, vote });
  await Promise.all([
    log.slot(first ?? "").write({ term: 2, vote: undefined }),
    log
      .slot(second ?? "")
      .write({ term: 4_294_967_295, vote: { nodeId: "nœud", storageId: "ffeeddccbbaa99887766554433221100/12" } }),
    log.slot(third ?? "").write({ term: 7, vote }),
  ]);
  await log.remove(third ?? "");
  await log.close();
  const file = disk.open("/hard-state", "read");
  const bytes = Buffer.alloc(file.size());
  file.readSync(bytes, 0);
  return bytes;
}
