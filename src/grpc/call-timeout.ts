/** `grpc-timeout`: at most eight digits and a unit. */

/** Rounds up: a call must not be given less time than was asked for. Undefined for a time that no eight digits hold: no limit. */
export function formatTimeout(timeoutMs: number): string | undefined {
  for (const [unit, unitMs] of outgoingUnits) {
    const count = Math.max(1, Math.ceil(timeoutMs / unitMs));
    if (count <= 99_999_999) return `${count}${unit}`;
  }
  return undefined;
}

/** Milliseconds, or undefined for what the specification doesn't allow. */
export function parseTimeout(text: string): number | undefined {
  const match = /^([0-9]{1,8})([HMSmun])$/.exec(text);
  if (match === null) return undefined;
  const [, count, unit = ""] = match;
  return Number(count) * (unitsMs[unit] ?? Number.NaN);
}

const unitsMs: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

const outgoingUnits = [
  ["m", 1],
  ["S", 1000],
  ["M", 60_000],
  ["H", 3_600_000],
] as const;
