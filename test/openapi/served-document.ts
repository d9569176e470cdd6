import packageManifest from "../../package.json" with { type: "json" };
import { createMemoryDisk } from "../../src/base/memory-disk.ts";
import { parseConfig, startNode } from "../../src/server/index.ts";

/** The API's document as a node of this release serves it, in the form in which it is kept. */
export async function servedDocument(): Promise<string> {
  const config = parseConfig({ flags: { "data-dir": "/data", "rpc-port": 0, "log-level": "silent" } });
  await using node = await startNode(config, { disk: createMemoryDisk(), version: packageManifest.version });
  const answer = await fetch(`${node.url}/v1/openapi.json`);
  return `${JSON.stringify(await answer.json(), undefined, 1)}\n`;
}
