import { Option } from "commander";
import { ProglogError } from "../base/error.ts";
import { serverDefault } from "./server-address.ts";

/** The options that several commands share, and what reads their values. */

export function serverOption(): Option {
  // Neither default nor environment are commander's business: it would ask the process's own environment.
  return new Option("--server <host:port>", `server to talk to (default: ${serverDefault}, env: PROGLOG_SERVER)`);
}

export function topicOption(): Option {
  return new Option("--topic <name>", "topic").default("default");
}

/** Reads a whole number from `min` up. Throws INVALID_ARGUMENT. */
export function parseInteger(flag: string, min: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!Number.isSafeInteger(value) || value < min) {
      throw new ProglogError(
        "INVALID_ARGUMENT",
        `Cannot use ${flag} ${JSON.stringify(text)}: it is no whole number from ${min} on`,
      );
    }
    return value;
  };
}
