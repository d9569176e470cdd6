import { isBearerToken } from "../base/bearer-token.ts";
import { ProglogError } from "../base/error.ts";

/** By what a client says who it is: a token, or what gives the one that is in force when a call is made. */
export type TokenSource = string | (() => string | Promise<string>);

/** Throws UNAUTHENTICATED for what is no token, and where the function fails. What it gave is never told. */
export async function takeToken(source: TokenSource): Promise<string> {
  if (typeof source === "string") return source;
  let token: unknown;
  try {
    token = await source();
  } catch (error) {
    throw new ProglogError("UNAUTHENTICATED", "Cannot say who asks: the function that gives the token failed", {
      details: { outcome: "not-appended" },
      cause: error,
    });
  }
  if (typeof token === "string" && isBearerToken(token)) return token;
  throw new ProglogError("UNAUTHENTICATED", "Cannot say who asks: what the function gave is no token", {
    details: { outcome: "not-appended" },
  });
}

/** Throws INVALID_ARGUMENT for a text that is no token. */
export function checkTokenSource(source: TokenSource | undefined): void {
  if (typeof source !== "string" || isBearerToken(source)) return;
  throw new ProglogError("INVALID_ARGUMENT", "Cannot connect: the token given is none", {
    hint: 'It is one word of visible characters, without "Bearer" before it.',
  });
}
