import assert from "node:assert/strict";
import { test } from "node:test";
import { everyChoice, keepAll, loseAll, randomChoice } from "./crash.ts";
import { createSeededRandom } from "./random.ts";
import { sectorBytes, SectorFile } from "./sector-file.ts";

/** The dumb twin: whole copies of the file, one for each state it was in since the last sync. */
class History {
  states: Buffer[] = [Buffer.alloc(0)];

  get seen(): Buffer {
    return this.states.at(-1) ?? Buffer.alloc(0);
  }

  write(bytes: Uint8Array, position: number): void {
    const next = Buffer.alloc(Math.max(this.seen.length, position + bytes.length));
    this.seen.copy(next);
    next.set(bytes, position);
    this.states.push(next);
  }

  truncate(size: number): void {
    const next = Buffer.alloc(size);
    this.seen.copy(next);
    this.states.push(next);
  }

  /** What the sector was in each of the states, to the end of an image of this size. */
  sectors(number: number, length: number): Set<string> {
    const start = number * sectorBytes;
    return new Set(
      this.states.map((state) => {
        const sector = Buffer.alloc(length);
        state.subarray(start, start + length).copy(sector);
        return sector.toString("latin1");
      }),
    );
  }
}

function contentOf(file: SectorFile): Buffer {
  const bytes = Buffer.alloc(file.size);
  assert.equal(file.read(bytes, 0), bytes.length);
  return bytes;
}

for (let seed = 1; seed <= 60; seed += 1) {
  test(`every image is put together of states that the file was in since its last sync: seed ${seed}`, () => {
    const random = createSeededRandom(`sector file ${seed}`);
    const file = new SectorFile(1, "a");
    const history = new History();
    for (let step = 0; step < 40; step += 1) {
      const position = random.integer(5 * sectorBytes);
      if (random.chance(0.2)) {
        file.sync(file.sequence);
        history.states = [history.seen];
      } else if (random.chance(0.3)) {
        file.truncate(position);
        history.truncate(position);
      } else {
        const bytes = random.bytes(random.pick([1, 100, sectorBytes, 1300]));
        const start = random.chance(0.3) ? position - (position % sectorBytes) : position;
        file.write(bytes, start);
        history.write(bytes, start);
      }
      const seen = contentOf(file);
      assert.ok(seen.equals(history.seen));
      assert.ok(contentOf(file.image(keepAll, "strict")).equals(seen));
      assert.ok(contentOf(file.image(loseAll, "strict")).equals(history.states[0] ?? Buffer.alloc(0)));
      for (let round = 0; round < 5; round += 1) {
        const image = contentOf(file.image(randomChoice(random), "strict"));
        assert.ok(history.states.some((state) => state.length === image.length));
        for (let number = 0; number * sectorBytes < image.length; number += 1) {
          const sector = image.subarray(number * sectorBytes, (number + 1) * sectorBytes);
          assert.ok(history.sectors(number, sector.length).has(sector.toString("latin1")));
        }
      }
    }
  });
}

test("the choices over a file's points give every mixture of its versions once", () => {
  const file = new SectorFile(1, "a");
  file.write(Buffer.alloc(3 * sectorBytes, "-"), 0);
  file.sync(file.sequence);
  for (const [sector, letter] of [
    [0, "a"],
    [1, "b"],
    [1, "c"],
    [2, "d"],
  ] as const) {
    file.write(Buffer.alloc(sectorBytes, letter), sector * sectorBytes);
  }
  const images = [...everyChoice([...file.crashPoints()])].map((choice) => {
    const content = contentOf(file.image(choice, "strict")).toString("latin1");
    return [0, 1, 2].map((number) => content.charAt(number * sectorBytes)).join("");
  });
  const expected = ["-", "a"].flatMap((a) => ["-", "b", "c"].flatMap((b) => ["-", "d"].map((c) => a + b + c)));
  assert.deepEqual(images.sort(), expected.sort());
});

test("syncs that end in another order than they were called in make durable what each covered", () => {
  const file = new SectorFile(1, "a");
  file.write(Buffer.from("1"), 0);
  const first = file.sequence;
  file.write(Buffer.from("2"), 0);
  const second = file.sequence;
  file.write(Buffer.from("3"), 0);
  file.sync(second);
  assert.equal(contentOf(file.image(loseAll, "strict")).toString(), "2");
  file.sync(first);
  assert.equal(contentOf(file.image(loseAll, "strict")).toString(), "2");
  file.sync(file.sequence);
  assert.equal(contentOf(file.image(loseAll, "strict")).toString(), "3");
});
