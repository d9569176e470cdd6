import { unreachable } from "../base/assert.ts";
import { ProglogError } from "../base/error.ts";
import { nodeNameMaxChars } from "../base/cluster-limits.ts";
import { joinAddressesMaxCount } from "../base/limits.ts";
import { formatBytes, formatDuration, parseBytes, parseDuration } from "../base/quantity.ts";
import type { ConfigKey } from "./config.ts";
import { parseHeaders } from "./otlp/otlp-sender.ts";
import { formatNodeAddress, parseNodeAddress } from "./node-address.ts";

export type ConfigValue = string | number | boolean | null;

/**
 * The value of `key` that `given` stands for: text from a flag or the environment, or a value of the right type already. `source`
 * names it in errors (`--rpc-port`). Throws INVALID_CONFIG.
 */
export function parseConfigValue(key: ConfigKey, given: unknown, source: string): ConfigValue {
  const refuse = (reason: string): ProglogError =>
    // What is secret stays out of diagnostics also when it is wrong.
    new ProglogError(
      "INVALID_CONFIG",
      `Cannot use ${source}${key.isSecret === true ? "" : ` ${JSON.stringify(given)}`}: ${reason}`,
      {
        details: { key: key.name, source },
      },
    );
  if (key.nullWord !== undefined && (given === null || given === key.nullWord)) return null;
  switch (key.kind) {
    case "text": {
      if (typeof given !== "string" || given.trim() === "") throw refuse("it is empty");
      return given;
    }
    case "name": {
      if (typeof given !== "string" || given === "") throw refuse("it is empty");
      if (given.length > nodeNameMaxChars) throw refuse(`it has more than ${nodeNameMaxChars} characters`);
      if (!/^[A-Za-z0-9._:-]+$/.test(given)) throw refuse("it holds other characters than letters, digits and . _ : -");
      return given;
    }
    case "address":
      return addressOf(given, refuse);
    case "addresses": {
      const addresses = listOf(given).map((address) => addressOf(address, refuse));
      if (addresses.length === 0) throw refuse("it is empty");
      if (addresses.length > joinAddressesMaxCount) throw refuse(`it has more than ${joinAddressesMaxCount} addresses`);
      return [...new Set(addresses)].join(",");
    }
    case "origins": {
      const origins = listOf(given);
      for (const origin of origins) {
        // Any page at all could read and write everything.
        if (origin === "*") throw refuse("every site there is may not be allowed; name them");
        if (!isOrigin(origin)) throw refuse("it isn't a list of origins, as in https://app.example,http://localhost:5173");
      }
      if (origins.length === 0) throw refuse("it is empty");
      return origins.join(",");
    }
    case "url": {
      const url = typeof given === "string" ? URL.parse(given) : null;
      if (url === null || !["http:", "https:"].includes(url.protocol)) throw refuse("it isn't a URL of http or https");
      if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "")
        throw refuse("it holds more than a host, a port and a path");
      return String(given);
    }
    case "headers": {
      if (typeof given !== "string" || given.trim() === "" || parseHeaders(given) === undefined)
        throw refuse("it isn't a list of headers, as in authorization=Basic%20abc,x-tenant=1");
      return given;
    }
    case "flag": {
      if (given === true || given === "true" || given === "1") return true;
      if (given === false || given === "false" || given === "0") return false;
      throw refuse("it is neither true nor false");
    }
    case "choice": {
      const choices = key.choices ?? [];
      if (typeof given !== "string" || !choices.includes(given)) throw refuse(`it is none of ${choices.join(", ")}`);
      return given;
    }
    case "integer":
      return checkBounds(key, numberOf(given, parseWhole), refuse, "a whole number", String);
    case "bytes":
      return checkBounds(key, numberOf(given, parseBytes), refuse, "a number of bytes, as in 4096, 64KiB or 1GiB", formatBytes);
    case "duration":
      return checkBounds(
        key,
        numberOf(given, parseDuration),
        refuse,
        "a duration, as in 500 (ms), 30s, 12h or 7d",
        formatDuration,
      );
    default:
      return unreachable(key.kind);
  }
}

/** A list as a file has it, or as one text. */
function listOf(given: unknown): readonly string[] {
  const texts = Array.isArray(given) ? given.map(String) : typeof given === "string" ? [given] : [];
  return texts.flatMap((text) => text.split(",").map((item) => item.trim()));
}

function addressOf(given: unknown, refuse: (reason: string) => ProglogError): string {
  const address = typeof given === "string" ? parseNodeAddress(given) : undefined;
  if (address === undefined) throw refuse("it isn't host:port, as in 10.0.0.1:8000, node-1.example:8000 or [::1]:8000");
  return formatNodeAddress(address);
}

/** Exactly as a browser writes it: a longer or differently written one would never match. */
function isOrigin(text: string): boolean {
  return URL.canParse(text) && /^https?:/.test(text) && new URL(text).origin === text;
}

function numberOf(given: unknown, parse: (text: string) => number | undefined): number | undefined {
  if (typeof given === "number") return given;
  return typeof given === "string" ? parse(given) : undefined;
}

function parseWhole(text: string): number | undefined {
  return /^\d+$/.test(text) ? Number(text) : undefined;
}

function checkBounds(
  { min = 0, max = Number.MAX_SAFE_INTEGER, nullWord }: ConfigKey,
  value: number | undefined,
  refuse: (reason: string) => ProglogError,
  what: string,
  format: (value: number) => string,
): number {
  const orWord = nullWord === undefined ? "" : `, or ${nullWord}`;
  if (value === undefined || !Number.isInteger(value)) throw refuse(`it isn't ${what}${orWord}`);
  if (value < min) throw refuse(`it is less than ${format(min)}`);
  if (value > max) throw refuse(`it is more than ${format(max)}`);
  return value;
}
