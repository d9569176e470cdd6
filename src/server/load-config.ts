import type { Disk } from "../base/disk.ts";
import { isProglogError } from "../base/error.ts";
import { nodeDisk } from "../base/node-disk.ts";
import { type ConfigFile, readConfigFile } from "./config-file.ts";
import { type Config, type ConfigSources, findConfigFile, parseConfig } from "./config.ts";
import { type ConfigReport, reportConfig } from "./config-report.ts";

/**
 * The configuration that flags, environment and the file that one of them names make. Throws as `parseConfig` does, and INVALID_CONFIG
 * for a file that isn't there or isn't understood.
 */
export function loadConfig(sources: Omit<ConfigSources, "file">, disk: Disk = nodeDisk): Config {
  const path = findConfigFile(sources);
  return parseConfig(path === undefined ? sources : { ...sources, file: readConfigFile(disk, path) });
}

/** The same, key by key, or all that is wrong with it. */
export function inspectConfig(sources: Omit<ConfigSources, "file">, disk: Disk = nodeDisk): ConfigReport {
  let file: ConfigFile | undefined;
  try {
    const path = findConfigFile(sources);
    file = path === undefined ? undefined : readConfigFile(disk, path);
  } catch (error) {
    if (!isProglogError(error)) throw error;
    return { entries: [], problems: [error] };
  }
  return reportConfig(file === undefined ? sources : { ...sources, file });
}
