import { randomBytes } from "node:crypto";

/** Randomness, handed in, so that a simulated run is the same for the same seed. */
export interface Random {
  /** `count` random bytes. */
  bytes(count: number): Buffer;
  /** A float in [0, 1). */
  float(): number;
}

export const systemRandom: Random = {
  bytes: (count) => randomBytes(count),
  float: () => Math.random(),
};
