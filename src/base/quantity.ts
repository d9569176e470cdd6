import { dayMs, GiB, hourMs, KiB, MiB, minuteMs, secondMs } from "./units.ts";

/** Sizes and durations as people write them: `64MiB`, `7d`. Where no unit stands, bytes and milliseconds are meant. */

/** The bytes that `text` stands for (`4096`, `64KiB`, `1 GB`), or undefined when it stands for none. */
export function parseBytes(text: string): number | undefined {
  return parseQuantity(text, byteUnits);
}

/** The milliseconds that `text` stands for (`500`, `30s`, `7d`), or undefined when it stands for none. */
export function parseDuration(text: string): number | undefined {
  return parseQuantity(text, durationUnits);
}

/** `67108864` as `64MiB`: the largest unit that divides it. */
export function formatBytes(value: number): string {
  return formatQuantity(value, ["TiB", "GiB", "MiB", "KiB"], byteUnits, "");
}

/** `604800000` as `7d`. */
export function formatDuration(value: number): string {
  return formatQuantity(value, ["d", "h", "m", "s"], durationUnits, "ms");
}

type Units = Readonly<Record<string, number>>;

const byteUnits: Units = { B: 1, KiB, MiB, GiB, TiB: 1024 * GiB, kB: 1e3, KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 };
const durationUnits: Units = { ms: 1, s: secondMs, m: minuteMs, h: hourMs, d: dayMs };

function parseQuantity(text: string, units: Units): number | undefined {
  const [, digits, unit = ""] = /^(\d+) ?([A-Za-z]*)$/.exec(text) ?? [];
  if (digits === undefined) return undefined;
  const factor = unit === "" ? 1 : Object.hasOwn(units, unit) ? units[unit] : undefined;
  return factor === undefined ? undefined : Number(digits) * factor;
}

function formatQuantity(value: number, names: readonly string[], units: Units, smallest: string): string {
  const name = names.find((candidate) => value !== 0 && value % (units[candidate] ?? 1) === 0);
  return name === undefined ? `${value}${smallest}` : `${value / (units[name] ?? 1)}${name}`;
}
