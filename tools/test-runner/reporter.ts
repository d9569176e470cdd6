import { writeFileSync } from "node:fs";
import { relative, resolve } from "node:path";
import { inspect } from "node:util";
import { spec as SpecReporter, type TestEvent } from "node:test/reporters";

/** What run.ts wants to know of a run, written as JSON to the file that TEST_RUN_RESULT names, when the run is over. */
export interface TestResult {
  /** Tests that really ran: neither suites nor skipped ones. */
  readonly ranCount: number;
  readonly skipped: readonly string[];
  /** Files, relative to the working directory, in which at least one test stood. */
  readonly files: readonly string[];
}

/** How long the process may live on with no test running, before we say that one of them has left something open. */
const quietMaxMs = Number(process.env["TEST_RUN_QUIET_MS"] ?? 20_000);

/** How long nothing at all may happen: longer than a test has. Where a suite's hook failed, its tests count as running for ever. */
const stalledMaxMs = 240_000;

/** The `spec` reporter; before its summary it names what was skipped. Node loads it by its default export. */
// oxlint-disable-next-line import/no-default-export
export default async function* report(source: AsyncIterable<TestEvent>): AsyncGenerator<string | Buffer> {
  const spec = new SpecReporter();
  const skipped: string[] = [];
  const files = new Set<string>();
  const path: string[] = [];
  let ranCount = 0;
  let runningCount = 0;
  let quiet: NodeJS.Timeout | undefined;
  let isSummary = false;
  const failures: string[] = [];
  const isLimited = process.env["TEST_RUN_DEBUG"] === undefined;

  for await (const event of source) {
    clearTimeout(quiet);
    if (event.type === "test:dequeue") runningCount++;
    if (event.type === "test:complete") runningCount--;
    // All tests run in this process, and it ends by itself unless something is left open.
    if (runningCount <= 0) quiet = setTimeout(stopLingering, quietMaxMs, "No test is running", failures).unref();
    else if (isLimited) quiet = setTimeout(stopLingering, stalledMaxMs, "Nothing happens any more", failures).unref();
    switch (event.type) {
      case "test:start":
        path.length = event.data.nesting;
        path.push(event.data.name);
        break;
      case "test:pass":
      case "test:fail":
        if (event.type === "test:fail") failures.push(`${event.data.name}: ${inspect(event.data.details.error.cause)}`);
        if (event.data.details.type === "suite" || isFile(event.data)) break;
        if (event.data.file !== undefined) files.add(relative("", event.data.file));
        if (event.data.skip === undefined && event.data.todo === undefined) ranCount++;
        else skipped.push([...path.slice(0, event.data.nesting), event.data.name].join(" > ") + reasonOf(event.data));
        break;
      case "test:diagnostic":
        if (isSummary || event.data.nesting !== 0 || !/^tests \d+$/.test(event.data.message)) break;
        isSummary = true;
        if (skipped.length > 0) yield `\nSkipped:\n${skipped.map((name) => `  ${name}\n`).join("")}\n`;
        break;
      default: // the spec reporter's business alone
    }
    spec.write(event);
    yield* pending(spec);
  }
  clearTimeout(quiet);
  spec.end();
  yield* spec;

  const resultFile = process.env["TEST_RUN_RESULT"];
  const result: TestResult = { ranCount, skipped, files: [...files] };
  if (resultFile !== undefined) writeFileSync(resultFile, JSON.stringify(result));
}

function* pending(spec: InstanceType<typeof SpecReporter>): Generator<Buffer> {
  for (let chunk = spec.read() as Buffer | null; chunk !== null; chunk = spec.read() as Buffer | null) yield chunk;
}

/** A file without a test is reported as a test of its name, and passes. */
function isFile(data: { name: string; nesting: number; file?: string }): boolean {
  return data.nesting === 0 && resolve(data.name) === data.file;
}

function reasonOf(data: { skip?: string | boolean; todo?: string | boolean }): string {
  const reason = data.skip ?? data.todo;
  return typeof reason === "string" && reason !== "" ? ` (${reason})` : "";
}

/** The summary comes when a run is over, and this one won't be: so it tells the failures itself. */
function stopLingering(what: string, failures: readonly string[]): void {
  const open = process.getActiveResourcesInfo().filter((name) => !/^(TTYWrap|PipeWrap|FSReqPromise)$/.test(name));
  process.stderr.write(
    `\n${what} and the process doesn't end: a test left something open (${open.join(", ") || "unknown"}).\n`,
  );
  for (const failure of failures) process.stderr.write(`\n✖ ${failure}\n`);
  process.exit(1);
}
