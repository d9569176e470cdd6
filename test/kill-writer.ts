import { writeSync } from "node:fs";
import { openLog } from "../src/log/index.ts";
import { createSeededRandom } from "../sim/random.ts";

/**
 * A process to be killed: appends to the log of `argv[2]` from many callers at once, with rolls and trims between, and tells on
 * its standard output what was acknowledged, a line each, at once. Ends only by being killed.
 *
 *     open <log start> <log end>       the log is open
 *     ack <offset> <name>              the record of that name is at that offset
 *     trim <offset>                    the log was trimmed to it
 */
const [directory = "", seed = "0", sync = "always"] = process.argv.slice(2);
const random = createSeededRandom(Number(seed));
const log = await openLog(directory, {
  segmentMaxBytes: 48 * 1024,
  sync: sync === "never" ? "never" : "always",
  index: random.chance(0.5) ? "heap" : "auto",
});
say(`open ${log.logStartOffset} ${log.logEndOffset}`);

await Promise.all(Array.from({ length: 16 }, (_, caller) => appendForEver(caller)));

async function appendForEver(caller: number): Promise<void> {
  // Each caller is a producer, and each process a new life of it.
  for (let baseSequence = 0; ; baseSequence += 1) {
    const name = `${seed}-${caller}-${baseSequence}`;
    const producer = { id: caller, epoch: Number(seed), baseSequence };
    // Mostly small, and some of several sectors and pages, so that a kill falls into the middle of a write.
    const value = valueOf(name, random.chance(0.1) ? random.integer(20_000) : random.integer(300));
    const compression = random.chance(0.2) ? "zstd" : "none";
    const { baseOffset } = await log.append({ key: name, value }, { compression, producer });
    say(`ack ${baseOffset} ${name}`);
    if (caller === 0 && random.chance(0.02)) {
      const offset = log.logStartOffset + Math.floor((log.highWatermark - log.logStartOffset) * 0.3);
      await log.trim(offset);
      say(`trim ${offset}`);
    }
  }
}

/** A value that tells whether it is whole and whose it is. */
function valueOf(name: string, length: number): string {
  return `${name}:${length}:`.padEnd(length, name);
}

function say(line: string): void {
  writeSync(1, `${line}\n`);
}
