/** Lines over time as SVG, which every browser and every page of Markdown shows: no package, no script in it. */
export interface LineChart {
  readonly title: string;
  readonly unit: string;
  readonly endMs: number;
  readonly lines: readonly ChartLine[];
  /** Stretches with a background of their own. */
  readonly shaded: readonly { readonly startMs: number; readonly endMs: number }[];
  /** Moments, each a tick at the bottom. */
  readonly marks: readonly number[];
}

export interface ChartLine {
  readonly name: string;
  /** In order of time. */
  readonly points: readonly { readonly atMs: number; readonly value: number }[];
}

const width = 920;
const height = 280;
const plot = { left: 70, right: 900, top: 46, bottom: 240 };
const colors = ["#0b6e99", "#d9730d", "#5a8f29", "#8a4fbf", "#b0413e", "#555555"];
/** Where a line has none for so long, its node was away, and the line is broken. */
const gapMs = 3_500;

export function renderLineChart({ title, unit, endMs, lines, shaded, marks }: LineChart): string {
  const top = niceCeiling(Math.max(...lines.flatMap(({ points }) => points.map(({ value }) => value)), 0));
  const x = (atMs: number): string => (plot.left + ((plot.right - plot.left) * atMs) / Math.max(endMs, 1)).toFixed(1);
  const y = (value: number): string => (plot.bottom - ((plot.bottom - plot.top) * value) / top).toFixed(1);
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="${plot.left}" y="20" font-size="15">${escape(title)}</text>`,
    ...shaded.map(({ startMs, endMs: end }) => {
      const size = `width="${(Number(x(end)) - Number(x(startMs))).toFixed(1)}" height="${plot.bottom - plot.top}"`;
      return `<rect x="${x(startMs)}" y="${plot.top}" ${size} fill="#f6e3d9"/>`;
    }),
    ...[0, 0.2, 0.4, 0.6, 0.8, 1].flatMap((part) => [
      `<line x1="${plot.left}" x2="${plot.right}" y1="${y(top * part)}" y2="${y(top * part)}" stroke="#dddddd"/>`,
      `<text x="${plot.left - 6}" y="${Number(y(top * part)) + 4}" text-anchor="end">${formatTick(top * part)}</text>`,
    ]),
    `<text x="${plot.left - 6}" y="${plot.top - 10}" text-anchor="end">${escape(unit)}</text>`,
    ...[0, 0.25, 0.5, 0.75, 1].map((part) => {
      return `<text x="${x(endMs * part)}" y="${plot.bottom + 18}" text-anchor="middle">${formatTime(endMs * part)}</text>`;
    }),
    ...marks.map(
      (atMs) => `<line x1="${x(atMs)}" x2="${x(atMs)}" y1="${plot.bottom}" y2="${plot.bottom - 6}" stroke="#b0413e"/>`,
    ),
    ...lines.flatMap(({ name, points }, number) => {
      const color = colors[number % colors.length];
      const path = points.map(({ atMs, value }, at) => {
        const before = points[at - 1];
        return `${before === undefined || atMs - before.atMs > gapMs ? "M" : "L"}${x(atMs)} ${y(value)}`;
      });
      return [
        `<path d="${path.join("")}" fill="none" stroke="${color}" stroke-width="1.5"/>`,
        `<text x="${plot.right - 90 * (lines.length - number) + 90}" y="20" text-anchor="end" fill="${color}">${escape(name)}</text>`,
      ];
    }),
    "</svg>",
  ];
  return `${parts.join("\n")}\n`;
}

/** 1, 2, 2.5 or 5 times a power of ten; never 0, which nothing could be divided by. */
export function niceCeiling(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 2.5, 5].find((step) => step * power >= value) ?? 10) * power;
}

function formatTick(value: number): string {
  return value >= 10 || Number.isInteger(value) ? `${Math.round(value)}` : value.toFixed(2);
}

function formatTime(atMs: number): string {
  const seconds = Math.round(atMs / 1000);
  const two = (number: number): string => `${number}`.padStart(2, "0");
  const minutes = Math.floor(seconds / 60);
  return minutes >= 60 ? `${Math.floor(minutes / 60)}:${two(minutes % 60)} h` : `${minutes}:${two(seconds % 60)}`;
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
