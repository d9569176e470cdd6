/**
 * Assertions guard against a programmer's error, never against the world: a bad request, a bad file or a full disk is a
 * `ProglogError`. They stay on in production; a failed one stops the log it happened in, since what it believed is false.
 */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/** Throws an `AssertionError` unless `condition` holds. The message says what was believed, not what was found. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(`Assertion failed: ${message}`);
}

/** Ends a `switch` over a union: it doesn't compile when a variant has no case. */
export function unreachable(value: never): never {
  throw new AssertionError(`Assertion failed: unreachable, got ${JSON.stringify(value)}`);
}
