import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createMemoryDisk } from "../base/memory-disk.ts";
import type { DiskFile } from "../base/disk.ts";
import { KiB } from "../base/units.ts";
import { encodeBatch } from "../batch/encode-batch.ts";
import { advanceChain, type ChainPoint } from "./chain.ts";
import { dumbFrame } from "./dumb-frame.ts";
import { encodeControlFrame, encodeDataFrame, type EntryHeader, type Frame, logSeed } from "./frame.ts";
import { FrameScanner, type ScanEnd } from "./frame-scanner.ts";

const logId = Buffer.alloc(16, 5);
const seed = logSeed(logId);
const before: ChainPoint = { index: 6, term: 2, nextOffset: 40, appendTime: 1000 };

/** Frames that follow one another, as bytes: each of a value of so many bytes, or a pad. */
class Frames {
  readonly frames: Buffer[] = [];
  chain = before;

  data(valueBytes: number): this {
    const header: EntryHeader = { kind: "data", span: 1, ...this.#next(1) };
    this.frames.push(encodeDataFrame(header, encodeBatch([{ value: Buffer.alloc(valueBytes, 7) }], { now: 1 }), seed));
    this.chain = advanceChain(header);
    return this;
  }

  control(kind: "pad" | "no-op" | "segment-header"): this {
    const header: EntryHeader = { kind, span: 0, ...this.#next(kind === "no-op" ? 1 : 0) };
    this.frames.push(encodeControlFrame(header, Buffer.alloc(kind === "pad" ? 30 : 0), seed));
    this.chain = advanceChain(header);
    return this;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.frames);
  }

  #next(by: number): Omit<EntryHeader, "kind" | "span"> {
    const { index, term, nextOffset, appendTime } = this.chain;
    return { index: index + by, term, baseOffset: nextOffset, appendTime, syncedBack: 1, flags: 0 };
  }
}

function fileOf(bytes: Uint8Array): DiskFile {
  const file = createMemoryDisk().open("/store", "create");
  file.writeSync([Buffer.alloc(128), bytes], 0);
  return file;
}

async function scan(
  bytes: Uint8Array,
  options: { readonly pieceBytes?: number; readonly endPosition?: number; readonly reusesMemory?: boolean } = {},
): Promise<{ frames: Frame[]; end: ScanEnd | undefined; position: number; chain: ChainPoint; pieces: number }> {
  const file = fileOf(bytes);
  const scanner = new FrameScanner({ file, position: 128, endPosition: file.size(), chain: before, seed, ...options });
  const frames: Frame[] = [];
  let pieces = 0;
  while (scanner.end === undefined) {
    frames.push(...(await scanner.next()));
    pieces += 1;
  }
  return { frames, end: scanner.end, position: scanner.position, chain: scanner.chain, pieces };
}

describe("frame scanner", () => {
  test("reads the same frames whatever the piece, also those larger than a piece", async () => {
    const made = new Frames()
      .data(10)
      .data(0)
      .data(5 * KiB)
      .control("no-op")
      .data(100);
    for (const pieceBytes of [1, 60, 77, 200, 4 * KiB, 1024 * KiB]) {
      for (const reusesMemory of [false, true]) {
        const { frames, end, position, chain } = await scan(made.bytes, { pieceBytes, reusesMemory });
        assert.deepEqual(
          frames.map(({ index, kind, byteLength }) => [index, kind, byteLength]),
          made.frames.map((frame, i) => [7 + i, i === 3 ? "no-op" : "data", frame.length]),
        );
        assert.deepEqual(end, { kind: "end" });
        assert.equal(position, 128 + made.bytes.length);
        assert.deepEqual(chain, made.chain);
      }
    }
  });

  test("frames tell where they lie", async () => {
    const made = new Frames().data(10).data(20);
    const { frames } = await scan(made.bytes);
    assert.deepEqual(
      frames.map((frame) => frame.position),
      [128, 128 + (made.frames[0]?.length ?? 0)],
    );
  });

  test("pads are passed over", async () => {
    const made = new Frames().control("pad").data(10).control("pad").control("pad").data(5).control("pad");
    for (const pieceBytes of [1, 100, 64 * KiB]) {
      const { frames, end, position } = await scan(made.bytes, { pieceBytes });
      assert.deepEqual(
        frames.map(({ kind, index }) => [kind, index]),
        [
          ["data", 7],
          ["data", 8],
        ],
      );
      assert.deepEqual(end, { kind: "end" });
      assert.equal(position, 128 + made.bytes.length);
    }
  });

  test("cut at any byte, the frames before the cut are read and the rest is told apart from zeros", async () => {
    const made = new Frames().data(10).data(20);
    const first = made.frames[0]?.length ?? 0;
    for (let cut = 0; cut <= made.bytes.length; cut += 1) {
      const whole = cut < first ? 0 : cut < made.bytes.length ? 1 : 2;
      const isAtSeam = cut === 0 || cut === first || cut === made.bytes.length;
      const { frames, end } = await scan(made.bytes.subarray(0, cut));
      assert.equal(frames.length, whole, `cut at ${cut}`);
      assert.equal(end?.kind, isAtSeam ? "end" : "bad", `cut at ${cut}`);
    }
  });

  test("zeros behind the frames, however few, are the end of what was written", async () => {
    const made = new Frames().data(10);
    for (const count of [1, 7, 8, 55, 56, 5000]) {
      const { frames, end } = await scan(Buffer.concat([made.bytes, Buffer.alloc(count)]));
      assert.equal(frames.length, 1);
      assert.deepEqual(end, { kind: "empty" }, `${count} zeros`);
    }
  });

  test("a frame that doesn't follow is bad, though its crc is right", async () => {
    const [a, b, c] = new Frames().data(1).data(2).data(3).frames;
    assert.ok(a !== undefined && b !== undefined && c !== undefined);
    assert.deepEqual((await scan(Buffer.concat([a, c]))).end, { kind: "bad", reason: "entry 9 where 8 follows" });
    assert.deepEqual((await scan(Buffer.concat([a, b, a]))).end, { kind: "bad", reason: "entry 7 where 9 follows" });
    const header = new Frames().control("segment-header").frames[0] ?? a;
    assert.deepEqual((await scan(Buffer.concat([header, a]))).end, { kind: "bad", reason: "a segment header inside a store" });
    const old = dumbFrame({ kind: 2, index: 8n, term: 1, baseOffset: 41n, appendTime: 1000n }, logId);
    assert.deepEqual((await scan(Buffer.concat([a, old]))).end, { kind: "bad", reason: "term 1 behind term 2" });
  });

  test("an entry of a later version ends the scan as unsupported", async () => {
    const made = new Frames().data(1);
    const later = dumbFrame({ kind: 2, version: 2, index: 8n, term: 2, baseOffset: 41n, appendTime: 1000n }, logId);
    const { frames, end } = await scan(Buffer.concat([made.bytes, later]));
    assert.equal(frames.length, 1);
    assert.deepEqual(end, { kind: "unsupported", reason: "an entry of version 2" });
  });

  test("nothing is read behind the end position", async () => {
    const made = new Frames().data(1).data(2);
    const endPosition = 128 + (made.frames[0]?.length ?? 0);
    const { frames, end } = await scan(made.bytes, { endPosition });
    assert.equal(frames.length, 1);
    assert.deepEqual(end, { kind: "end" });
  });

  test("a file that is shorter than it was said to be ends, and the scan with it", async () => {
    const made = new Frames().data(1);
    assert.deepEqual((await scan(made.bytes, { endPosition: 5000 })).end, { kind: "end" });
    assert.equal((await scan(made.bytes.subarray(0, 60), { endPosition: 5000 })).end?.kind, "bad");
  });

  test("frames stay as they were read when the next piece comes, unless memory is to be reused", async () => {
    const made = new Frames().data(300).data(400);
    const { frames } = await scan(made.bytes, { pieceBytes: 1 });
    assert.deepEqual(
      frames.map((frame) =>
        frame.payload.equals(made.bytes.subarray(frame.position - 128 + 56, frame.position - 128 + frame.byteLength)),
      ),
      [true, true],
    );
  });
});
