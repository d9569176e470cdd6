import { writeFileSync } from "node:fs";
import { relative, resolve } from "node:path";
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
const quietMaxMs = 20_000;

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

  for await (const event of source) {
    switch (event.type) {
      case "test:dequeue":
        runningCount++;
        clearTimeout(quiet);
        break;
      case "test:complete":
        runningCount--;
        // All tests run in this process, and it ends by itself unless something is left open.
        if (runningCount === 0) quiet = setTimeout(stopLingering, quietMaxMs).unref();
        break;
      case "test:start":
        path.length = event.data.nesting;
        path.push(event.data.name);
        break;
      case "test:pass":
      case "test:fail":
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

function stopLingering(): void {
  const open = process.getActiveResourcesInfo().filter((name) => !/^(TTYWrap|PipeWrap|FSReqPromise)$/.test(name));
  process.stderr.write(
    `\nNo test is running and the process doesn't end: a test left something open (${open.join(", ") || "unknown"}).\n`,
  );
  process.exit(1);
}
