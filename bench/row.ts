import { type Spread, ratioOf, spreadOf } from "./spread.ts";

export type Unit =
  | "MB/s"
  | "calls/s"
  | "messages/s"
  | "records/s"
  | "batches/s"
  | "appends/s"
  | "µs"
  | "s"
  | "MiB"
  | "% CPU"
  | "descriptors";

/** A figure to reach (docs/benchmarks.md). */
export interface Target {
  readonly of: "figure" | "ratio";
  readonly atLeast?: number;
  readonly atMost?: number;
}

/** One line of the table, and one entry of the history. */
export interface Row {
  /** Never changed once it is in the history: it is what a later run is compared by. */
  readonly name: string;
  readonly unit: Unit;
  readonly figure: Spread;
  /** What the same machine can do at most, or the other way of doing it, measured in the same run. */
  readonly ceiling?: { readonly what: string; readonly figure: Spread };
  readonly ratio?: Spread;
  readonly target?: Target;
  /** What a reader has to know to read it right. */
  readonly note?: string;
}

export interface RowSamples {
  readonly name: string;
  readonly unit: Unit;
  readonly figures: readonly number[];
  readonly ceilings?: { readonly what: string; readonly figures: readonly number[] };
  readonly target?: Target;
  readonly note?: string;
}

/** A row from the samples of each round; where there are ceilings, those of the same rounds. */
export function rowOf(samples: RowSamples): Row {
  const { name, unit, figures, ceilings, target, note } = samples;
  return {
    name,
    unit,
    figure: spreadOf(figures),
    ...(ceilings !== undefined && {
      ceiling: { what: ceilings.what, figure: spreadOf(ceilings.figures) },
      ratio: ratioOf(figures, ceilings.figures),
    }),
    ...(target !== undefined && { target }),
    ...(note !== undefined && { note }),
  };
}

/** Undefined where there is no target. */
export function isReached({ figure, ratio, target }: Row): boolean | undefined {
  if (target === undefined) return undefined;
  const value = target.of === "figure" ? figure.median : ratio?.median;
  if (value === undefined) return false;
  return value >= (target.atLeast ?? Number.NEGATIVE_INFINITY) && value <= (target.atMost ?? Number.POSITIVE_INFINITY);
}

export function formatTable(rows: readonly Row[]): string {
  const cells = rows.map((row) => [
    row.name,
    `${formatSpread(row.figure)} ${row.unit}`,
    row.ceiling === undefined ? "" : `${formatSpread(row.ceiling.figure)} ${row.ceiling.what}`,
    row.ratio === undefined ? "" : formatSpread(row.ratio),
    formatTarget(row),
    { true: "yes", false: "NO", undefined: "" }[`${isReached(row)}` as const],
  ]);
  const lines = [["row", "figure (min-max)", "ceiling (min-max)", "ratio (min-max)", "target", "reached"], ...cells];
  const widths = lines[0]?.map((_, column) => Math.max(...lines.map((line) => (line[column] ?? "").length))) ?? [];
  const format = (line: readonly string[]): string =>
    line
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd();
  const notes = rows.filter((row) => row.note !== undefined).map((row) => `  ${row.name}: ${row.note}`);
  return [...lines.map(format), ...(notes.length === 0 ? [] : ["", "Notes", ...notes])].join("\n");
}

function formatTarget({ target, unit }: Row): string {
  if (target === undefined) return "";
  const sign = target.atLeast === undefined ? "≤" : "≥";
  const number = formatNumber(target.atLeast ?? target.atMost ?? Number.NaN);
  return target.of === "ratio" ? `ratio ${sign} ${number}` : `${sign} ${number} ${unit}`;
}

function formatSpread({ median, min, max }: Spread): string {
  return min === max ? formatNumber(median) : `${formatNumber(median)} (${formatNumber(min)}-${formatNumber(max)})`;
}

/** Three digits that count, and no more: the rest is noise. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return "-";
  const size = Math.abs(value);
  if (size >= 100) return Math.round(value).toLocaleString("en-US");
  return size >= 10 ? value.toFixed(1) : value.toFixed(2);
}
