import { assert } from "../src/base/assert.ts";
import type { Random } from "../src/base/random.ts";

/**
 * What may be lost when the power goes.
 *
 * - `strict`: whatever isn't synced may be lost or kept, each thing for itself: every sector, every file's size, every name that
 *   was created, renamed or removed. No file system is as bad; what survives this survives all of them.
 * - `ordered`: as ext4 with its defaults, or rather worse: names reach the disk in the order in which they changed, over all
 *   directories, so that a crash cuts their list at some point; and a file grows only over data that was written.
 *   Every image of this model is one of the strict model, too.
 *
 * In both, a rename happens whole or not at all.
 */
export type CrashModel = "strict" | "ordered";

/**
 * One decision of a crash, with `options` ways to go: 0 is what had been synced, `options - 1` what a reader saw last. The
 * decisions don't hang on each other, so the number of images is the product of their options.
 */
export type CrashPoint = { readonly key: string; readonly options: number } & (
  | { readonly kind: "sector"; readonly path: string; readonly sector: number }
  | { readonly kind: "size"; readonly path: string; readonly sizes: readonly number[] }
  /** A name that was changed: lost or kept. */
  | { readonly kind: "name"; readonly what: string }
  /** How many of these changes of names were kept, in order. */
  | { readonly kind: "names"; readonly what: readonly string[] }
);

/** Decides one point: a whole number from 0, below its `options`. */
export type CrashChoice = (point: CrashPoint) => number;

/** Nothing survives that wasn't synced. */
export const loseAll: CrashChoice = () => 0;

/** Everything survives, as when only the process dies. */
export const keepAll: CrashChoice = (point) => point.options - 1;

/** A choice by chance. Each has its own leaning towards keeping, so that nearly-nothing and nearly-all come up as often as halves. */
export function randomChoice(random: Random): CrashChoice {
  const leaning = random.float();
  return (point) => {
    if (random.float() < leaning) return point.options - 1;
    return Math.floor(random.float() * point.options);
  };
}

/** How many images `everyChoice` would make. */
export function countChoices(points: readonly CrashPoint[]): number {
  return points.reduce((product, point) => product * point.options, 1);
}

/**
 * Every combination of decisions over `points`; what isn't among them is decided by `others`.
 *
 *     for (const choice of everyChoice(disk.crashPoints())) check(disk.crash(choice));
 */
export function* everyChoice(points: readonly CrashPoint[], others: CrashChoice = keepAll): Generator<CrashChoice> {
  const count = countChoices(points);
  assert(Number.isSafeInteger(count), "the images can be counted");
  for (let number = 0; number < count; number += 1) {
    const chosen = new Map<string, number>();
    let rest = number;
    for (const point of points) {
      chosen.set(point.key, rest % point.options);
      rest = Math.floor(rest / point.options);
    }
    yield (point) => chosen.get(point.key) ?? others(point);
  }
}
