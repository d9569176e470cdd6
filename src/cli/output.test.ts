import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryOutput } from "./memory-io.ts";
import { Output, OutputClosedError } from "./output.ts";

/** More than a stream takes before it says that it is full. */
const large = "x".repeat(1024 * 1024);

test("a slow reader is waited for", async () => {
  const stream = new MemoryOutput(false);
  const output = new Output(stream);
  stream.hold();
  let isWritten = false;
  const writing = output.write(large).then(() => {
    isWritten = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(isWritten, false);
  stream.release();
  await writing;
  assert.equal(stream.text.length, large.length);
});

test("everything is handed over when it is finished", async () => {
  const stream = new MemoryOutput(false);
  const output = new Output(stream);
  stream.hold();
  await output.write("a");
  let isFinished = false;
  const finishing = output.finish().then(() => {
    isFinished = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(isFinished, false);
  stream.release();
  await finishing;
});

test("a reader that goes away is told apart from an error, also while it is waited for", async () => {
  const gone = new MemoryOutput(false);
  const output = new Output(gone);
  gone.hold();
  const writing = output.write(large);
  gone.breakPipe();
  await assert.rejects(writing, OutputClosedError);
  await assert.rejects(output.write("a"), OutputClosedError);
  await assert.rejects(output.finish(), OutputClosedError);

  const failing = new MemoryOutput(false);
  const other = new Output(failing);
  failing.hold();
  const failed = other.write(large);
  failing.destroy(Object.assign(new Error("no space"), { code: "ENOSPC" }));
  await assert.rejects(failed, { code: "ENOSPC" });
  await assert.rejects(other.finish(), { code: "ENOSPC" });
});

test("an optional output never throws", async () => {
  const stream = new MemoryOutput(false);
  const output = new Output(stream, { isOptional: true });
  stream.hold();
  const writing = output.write(large);
  stream.breakPipe();
  await writing;
  await output.write("a");
  await output.finish();
});
