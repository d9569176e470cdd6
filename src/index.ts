/** The whole package: so far, the log as a library. */
export * from "./log/index.ts";
