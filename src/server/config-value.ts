import { unreachable } from "../base/assert.ts";
import { ProglogError } from "../base/error.ts";
import { dayMs, GiB, hourMs, KiB, MiB, minuteMs, secondMs } from "../base/units.ts";
import type { ConfigKey } from "./config.ts";

export type ConfigValue = string | number | boolean | null;

/**
 * The value of `key` that `given` stands for: text from a flag or the environment, or a value of the right type already. `source`
 * names it in errors (`--rpc-port`). Throws INVALID_CONFIG.
 */
export function parseConfigValue(key: ConfigKey, given: unknown, source: string): ConfigValue {
  const refuse = (reason: string): ProglogError =>
    new ProglogError("INVALID_CONFIG", `Cannot use ${source} ${JSON.stringify(given)}: ${reason}`, {
      details: { key: key.name, source },
    });
  if (key.nullWord !== undefined && (given === null || given === key.nullWord)) return null;
  switch (key.kind) {
    case "text": {
      if (typeof given !== "string" || given.trim() === "") throw refuse("it is empty");
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
      return checkBounds(key, parseNumber(given, noUnits), refuse, "a whole number", String);
    case "bytes":
      return checkBounds(
        key,
        parseNumber(given, byteUnits),
        refuse,
        "a number of bytes, as in 4096, 64KiB or 1GiB",
        formatBytes,
      );
    case "duration":
      return checkBounds(
        key,
        parseNumber(given, durationUnits),
        refuse,
        "a duration, as in 500 (ms), 30s, 12h or 7d",
        formatDuration,
      );
    default:
      return unreachable(key.kind);
  }
}

type Units = Readonly<Record<string, number>>;

const noUnits: Units = {};
const byteUnits: Units = { B: 1, KiB, MiB, GiB, TiB: 1024 * GiB, kB: 1e3, KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 };
const durationUnits: Units = { ms: 1, s: secondMs, m: minuteMs, h: hourMs, d: dayMs };

function parseNumber(given: unknown, units: Units): number | undefined {
  if (typeof given === "number") return given;
  const [, digits, unit = ""] = typeof given === "string" ? (/^(\d+) ?([A-Za-z]*)$/.exec(given) ?? []) : [];
  if (digits === undefined) return undefined;
  const factor = unit === "" ? 1 : Object.hasOwn(units, unit) ? units[unit] : undefined;
  return factor === undefined ? undefined : Number(digits) * factor;
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

/** `67108864` as `64MiB`: the largest unit that divides it. */
export function formatBytes(value: number): string {
  return formatWith(value, ["TiB", "GiB", "MiB", "KiB"], byteUnits, "");
}

/** `604800000` as `7d`. */
export function formatDuration(value: number): string {
  return formatWith(value, ["d", "h", "m", "s"], durationUnits, "ms");
}

function formatWith(value: number, names: readonly string[], units: Units, smallest: string): string {
  const name = names.find((candidate) => value !== 0 && value % (units[candidate] ?? 1) === 0);
  return name === undefined ? `${value}${smallest}` : `${value / (units[name] ?? 1)}${name}`;
}
