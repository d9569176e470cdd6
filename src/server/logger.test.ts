import assert from "node:assert/strict";
import { test } from "node:test";
import { createLogger } from "./logger.ts";
import { PrettyLog } from "./pretty-log.ts";

function outputOf(isTerminal: boolean, hasColors = false) {
  const lines: string[] = [];
  return { lines, isTerminal, hasColors, write: (text: string): void => void lines.push(text) };
}

test("diagnostics are JSON lines where nobody looks at them, and lines for people on a terminal", () => {
  const pipe = outputOf(false);
  createLogger({ logFormat: "auto" }, pipe).info({ port: 8000 }, "serving");
  const { time, ...rest } = JSON.parse(pipe.lines[0] ?? "") as Record<string, unknown>;
  assert.match(String(time), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  assert.deepEqual(rest, { level: 30, msg: "serving", port: 8000 });
  const terminal = outputOf(true);
  createLogger({ logFormat: "auto" }, terminal).info({ port: 8000 }, "serving");
  assert.match(terminal.lines[0] ?? "", /^\d\d:\d\d:\d\d\.\d{3} info {2}serving port=8000\n$/);
});

test("the format may be told, whatever it is written to", () => {
  const pipe = outputOf(false);
  createLogger({ logFormat: "pretty" }, pipe).error({}, "gone");
  assert.match(pipe.lines[0] ?? "", / ERROR gone\n$/);
  const terminal = outputOf(true);
  createLogger({ logFormat: "json" }, terminal).debug({}, "seen");
  assert.equal((JSON.parse(terminal.lines[0] ?? "") as { level: number }).level, 20);
});

test("a line for people is one line, whatever its values hold", () => {
  const output = outputOf(true);
  const time = new Date(2026, 0, 2, 3, 4, 5, 67).toISOString();
  new PrettyLog(output).write(
    `${JSON.stringify({ level: 40, time, a: "two words", b: "x\ny", c: 1, d: { e: null }, f: "", g: "h=i", msg: "odd" })}\n`,
  );
  assert.deepEqual(output.lines, ['03:04:05.067 WARN  odd a="two words" b="x\\ny" c=1 d={"e":null} f="" g="h=i"\n']);
});

test("colours are there where they are wanted, and what isn't a line of ours is shown as it is", () => {
  const output = outputOf(true, true);
  const pretty = new PrettyLog(output);
  pretty.write(`${JSON.stringify({ level: 50, time: "t", k: 1, msg: "m" })}\n`);
  pretty.write("plain text\n");
  assert.deepEqual(output.lines, ["\u001B[2mt\u001B[0m \u001B[31mERROR\u001B[0m m \u001B[2mk=\u001B[0m1\n", "plain text\n"]);
});
