import fs from "node:fs";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { crc32c } from "../../src/batch/crc32c.ts";
import { GiB, KiB } from "../../src/base/units.ts";

/**
 * The ceiling of a durable produce: a TCP server that takes `[length u32][crc32c u32][bytes]`, checks the sum, writes all that
 * came meanwhile as it lies in memory, syncs, and tells each connection how many of its frames are on disk. It numbers nothing,
 * keeps no index and speaks no protocol. `argv`: directory, port.
 */
const [directory = ".", port = "0"] = process.argv.slice(2);

interface Frame {
  readonly connection: Socket;
  readonly pieces: Buffer[];
}

let waiting: Frame[] = [];
let isWriting = false;
let fd = fs.openSync(join(directory, "bare.log"), "w");
let position = 0;

createServer((connection) => {
  connection.setNoDelay(true);
  connection.on("error", () => connection.destroy());
  let head = Buffer.alloc(0);
  let pieces: Buffer[] = [];
  let left = 0;
  let sum = 0;
  connection.on("data", (chunk: Buffer) => {
    for (let at = 0; at < chunk.length; ) {
      if (left === 0) {
        const taken = chunk.subarray(at, at + headBytes - head.length);
        head = Buffer.concat([head, taken]);
        at += taken.length;
        if (head.length < headBytes) return;
        left = head.readUInt32BE(0);
        sum = 0;
        pieces = [head];
        continue;
      }
      const piece = chunk.subarray(at, at + left);
      sum = crc32c(piece, 0, piece.length, sum);
      pieces.push(piece);
      at += piece.length;
      left -= piece.length;
      if (left > 0) continue;
      if (sum >>> 0 !== head.readUInt32BE(4)) {
        connection.destroy();
        return;
      }
      waiting.push({ connection, pieces });
      head = Buffer.alloc(0);
    }
    if (!isWriting) void writeGroups();
  });
}).listen(Number(port), "127.0.0.1");

async function writeGroups(): Promise<void> {
  isWriting = true;
  while (waiting.length > 0) {
    const group = waiting;
    waiting = [];
    write(group.flatMap(({ pieces }) => pieces));
    await new Promise<void>((resolve, reject) => fs.fdatasync(fd, (error) => (error === null ? resolve() : reject(error))));
    const counts = new Map<Socket, number>();
    for (const { connection } of group) counts.set(connection, (counts.get(connection) ?? 0) + 1);
    for (const [connection, count] of counts) {
      const answer = Buffer.allocUnsafe(4);
      answer.writeUInt32BE(count);
      connection.write(answer);
    }
    if (position > fileMaxBytes) {
      fs.closeSync(fd);
      fd = fs.openSync(join(directory, "bare.log"), "w");
      position = 0;
    }
  }
  isWriting = false;
}

function write(pieces: readonly Buffer[]): void {
  for (let first = 0; first < pieces.length; ) {
    let bytes = 0;
    let end = first;
    for (; end < pieces.length && end - first < piecesMaxCount && bytes < writeMaxBytes; end += 1)
      bytes += pieces[end]?.length ?? 0;
    const written = fs.writevSync(fd, pieces.slice(first, end), position);
    if (written !== bytes) throw new Error(`wrote ${written} of ${bytes} bytes`);
    position += bytes;
    first = end;
  }
}

const headBytes = 8;
const piecesMaxCount = 1000;
const writeMaxBytes = 1024 * KiB;
const fileMaxBytes = GiB;
