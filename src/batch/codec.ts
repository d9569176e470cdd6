/**
 * One way to compress. Both functions throw an error with the code ERR_BUFFER_TOO_LARGE, as Node's own do, when the output
 * passes `maxBytes`, and any other error for input that isn't of this kind.
 */
export interface Codec {
  compress(body: Buffer, maxBytes: number): Buffer;
  inflate(body: Buffer, maxBytes: number): Inflated;
}

export interface Inflated {
  readonly body: Buffer;
  /** How much of the input was compressed data. */
  readonly consumedBytes: number;
}

/** What a codec throws whose output would pass its limit. */
export class OutputTooLongError extends Error {
  readonly code = "ERR_BUFFER_TOO_LARGE";

  constructor() {
    super("the output is larger than allowed");
  }
}

export function isOutputTooLong(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE";
}
