import type { LoggerOutput } from "./logger.ts";

/** Makes lines for people of pino's: the time of day, the level, what happened, and the rest as `key=value`. */
export class PrettyLog {
  readonly #output: LoggerOutput;

  constructor(output: LoggerOutput) {
    this.#output = output;
  }

  write(line: string): void {
    this.#output.write(this.#format(line));
  }

  #format(line: string): string {
    const parsed = parseLine(line);
    if (parsed === undefined) return line;
    const { level, time, msg = "", ...fields } = parsed;
    const { name, color } = levels[Number(level)] ?? { name: String(level), color: plain };
    const day = new Date(String(time));
    const clock = Number.isNaN(day.getTime()) ? String(time) : timeOfDay(day);
    const rest = Object.entries(fields).map(([key, value]) => ` ${this.#paint(`${key}=`, dim)}${formatValue(value)}`);
    return `${this.#paint(clock, dim)} ${this.#paint(name.padEnd(nameWidth), color)} ${String(msg)}${rest.join("")}\n`;
  }

  #paint(text: string, color: number): string {
    return this.#output.hasColors && color !== plain ? `\u001B[${color}m${text}\u001B[0m` : text;
  }
}

function parseLine(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    // What isn't one of pino's lines is shown as it is.
    return undefined;
  }
}

/** In the time zone of who looks. */
function timeOfDay(day: Date): string {
  const [hours, minutes, seconds] = [day.getHours(), day.getMinutes(), day.getSeconds()].map((one) =>
    String(one).padStart(2, "0"),
  );
  return `${hours}:${minutes}:${seconds}.${String(day.getMilliseconds()).padStart(3, "0")}`;
}

/** A text of one word as it is, everything else as JSON: so that a line stays one, and where a value ends is seen. */
function formatValue(value: unknown): string {
  return typeof value === "string" && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
}

const plain = 0;
const dim = 2;
const nameWidth = 5;

/** By pino's numbers. */
const levels: Readonly<Record<number, { readonly name: string; readonly color: number }>> = {
  20: { name: "debug", color: 36 },
  30: { name: "info", color: 32 },
  40: { name: "WARN", color: 33 },
  50: { name: "ERROR", color: 31 },
};
