import { createHash, timingSafeEqual } from "node:crypto";
import type { Random } from "../../base/random.ts";

/**
 * What a client shows to say who it is: `plg_<id>_<secret>`. The id finds what is known of it, the secret proves it. Of the secret only its
 * SHA-256 is kept: it is 32 random bytes, so nobody finds it by trying, and a slow hash would slow down nobody but the node, which
 * takes it for each request.
 */
export interface BearerToken {
  readonly id: string;
  readonly secret: string;
}

/** A new one, and the text that is shown once. */
export function makeToken(random: Random): BearerToken & { readonly text: string } {
  const id = random.bytes(6).toString("hex");
  const secret = random.bytes(32).toString("base64url");
  return { id, secret, text: `${prefix}${id}_${secret}` };
}

/** Undefined for what no token looks like. */
export function parseToken(text: string): BearerToken | undefined {
  const match = tokenPattern.exec(text);
  return match?.[1] === undefined || match[2] === undefined ? undefined : { id: match[1], secret: match[2] };
}

export function hashSecret(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}

/** In a time that doesn't tell where they differ. */
export function isSameHash(a: string, b: string): boolean {
  const [bytesA, bytesB] = [Buffer.from(a, "hex"), Buffer.from(b, "hex")];
  return bytesA.length === bytesB.length && timingSafeEqual(bytesA, bytesB);
}

/**
 * What stands behind `Bearer` in an `authorization` header, or undefined where there is no header; null for a header that is none of ours.
 */
export function bearerOf(authorization: string | undefined): string | null | undefined {
  if (authorization === undefined) return undefined;
  return /^bearer +([\x21-\x7e]+) *$/i.exec(authorization)?.[1] ?? null;
}

/** Without a sign that a command line or a web address takes for something else. */
export const tokenIdPattern = /^[0-9a-f]{12}$/;

const prefix = "plg_";
const tokenPattern = /^plg_([0-9a-f]{12})_([A-Za-z0-9_-]{43})$/;
