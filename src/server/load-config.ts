import type { Disk } from "../base/disk.ts";
import { nodeDisk } from "../base/node-disk.ts";
import { readConfigFile } from "./config-file.ts";
import { type Config, type ConfigSources, findConfigFile, parseConfig } from "./config.ts";

/**
 * The configuration that flags, environment and the file that one of them names make. Throws as `parseConfig` does, and INVALID_CONFIG
 * for a file that isn't there or isn't understood.
 */
export function loadConfig(sources: Omit<ConfigSources, "file">, disk: Disk = nodeDisk): Config {
  const path = findConfigFile(sources);
  return parseConfig(path === undefined ? sources : { ...sources, file: readConfigFile(disk, path) });
}
