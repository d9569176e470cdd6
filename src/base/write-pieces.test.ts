import assert from "node:assert/strict";
import { test } from "node:test";
import { writePieceMaxBuffers, writePieceMaxBytes } from "./limits.ts";
import { WritePieces } from "./write-pieces.ts";

/** Writes into a buffer as a file would that takes only `takes(piece)` bytes a call, and returns the sizes of the pieces. */
function run(
  buffers: readonly Uint8Array[],
  takes: (bytes: number) => number,
): { written: Buffer; pieces: number[]; counts: number[] } {
  const written = Buffer.alloc(buffers.reduce((sum, buffer) => sum + buffer.length, 0));
  const pieces: number[] = [];
  const counts: number[] = [];
  const walk = new WritePieces(buffers);
  for (let piece = walk.next(); piece !== undefined; piece = walk.next()) {
    const bytes = Buffer.concat(piece.buffers);
    const taken = takes(bytes.length);
    bytes.copy(written, piece.start, 0, taken);
    pieces.push(bytes.length);
    counts.push(piece.buffers.length);
    walk.wrote(taken, "a");
  }
  return { written, pieces, counts };
}

test("a piece holds at most so many buffers", () => {
  const at = Array.from({ length: writePieceMaxBuffers }, () => Buffer.from("x"));
  assert.deepEqual(run(at, (bytes) => bytes).counts, [writePieceMaxBuffers]);
  assert.deepEqual(run([...at, Buffer.from("y")], (bytes) => bytes).counts, [writePieceMaxBuffers, 1]);
});

test("a piece holds at most so many bytes, and a larger buffer is cut", () => {
  const at = [Buffer.alloc(writePieceMaxBytes - 1), Buffer.from("x")];
  assert.deepEqual(run(at, (bytes) => bytes).pieces, [writePieceMaxBytes]);
  assert.deepEqual(run([...at, Buffer.from("y")], (bytes) => bytes).pieces, [writePieceMaxBytes, 1]);
  assert.deepEqual(run([Buffer.alloc(2 * writePieceMaxBytes + 5)], (bytes) => bytes).pieces, [
    writePieceMaxBytes,
    writePieceMaxBytes,
    5,
  ]);
});

test("a write is taken up where a short one left it, at every length", () => {
  const buffers = ["", "abc", "", "", "d", "efgh", ""].map((text) => Buffer.from(text));
  for (let most = 1; most <= 9; most += 1) {
    const { written } = run(buffers, (bytes) => Math.min(bytes, most));
    assert.equal(written.toString(), "abcdefgh");
  }
});

test("nothing to write is no piece", () => {
  assert.equal(new WritePieces([]).next(), undefined);
  assert.equal(new WritePieces([Buffer.alloc(0), Buffer.alloc(0)]).next(), undefined);
});

test("no progress is an error, not another try", () => {
  assert.throws(() => run([Buffer.from("abc")], () => 0), { code: "EIO", path: "a" });
});
