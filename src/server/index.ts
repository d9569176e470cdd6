export { type Config, type ConfigKey, configKeys, type ConfigSources, parseConfig } from "./config.ts";
export { type ConfigEntry, type ConfigReport, formatConfigValue } from "./config-report.ts";
export { examine } from "./doctor/doctor.ts";
export type { Finding } from "./doctor/finding.ts";
export { inspectConfig, loadConfig } from "./load-config.ts";
export { createLogger } from "./logger.ts";
export { type Node, type NodeParts, startNode } from "./node.ts";
