import { createHash } from "node:crypto";
import type { JWTPayload, JWTVerifyOptions, JSONWebKeySet } from "jose";
import type { Clock } from "../../base/clock.ts";
import { principalNameMaxChars, signedTokenRecheckMs, signedTokensMaxCount } from "../../base/security-limits.ts";
import type { IssuerKeys } from "./issuer-keys.ts";

/**
 * Tokens that say by themselves who shows them: JWTs of an identity provider. They are judged by its keys, by when they end, by who issued them
 * and whom they are for; nothing of them counts before that. What was found is remembered for a while, by a hash of the token: a signature
 * takes a hundred times as long as a look into a map.
 */
export class SignedTokens {
  readonly #options: SignedTokensOptions;
  readonly #verified = new Map<string, Verified>();

  constructor(options: SignedTokensOptions) {
    this.#options = options;
  }

  get rememberedCount(): number {
    return this.#verified.size;
  }

  /** Whom it is known to name; undefined where it has to be looked at. */
  find(token: string): SignedIdentity | undefined {
    const { clock } = this.#options;
    const known = this.#verified.get(hashOf(token));
    if (known === undefined || known.expiresAt <= clock.now()) return undefined;
    return clock.monotonic() - known.verifiedAtMs < signedTokenRecheckMs ? known : undefined;
  }

  /** Whom it names, or, as a text, why it is none. Throws UNAVAILABLE where the keys can't be had. */
  async verify(token: string): Promise<SignedIdentity | string> {
    const { keys, nameClaim, clock } = this.#options;
    const set = await keys.get();
    let payload = await this.#verifyBy(set, token);
    if (payload === "unknown-key") {
      const newer = await keys.getNewer();
      if (newer !== undefined) payload = await this.#verifyBy(newer, token);
    }
    if (payload === "over") return "its time is over";
    if (typeof payload === "string") return "it isn't signed by the issuer for this node";
    const { exp = 0 } = payload;
    const name = payload[nameClaim];
    if (typeof name !== "string" || !isSoundName(name)) return `its claim ${nameClaim} is no name`;
    const identity = { name: `${principalPrefix}${name}`, expiresAt: exp * 1_000 };
    this.#remember(hashOf(token), { ...identity, verifiedAtMs: clock.monotonic() });
    return identity;
  }

  async #verifyBy(set: JSONWebKeySet, token: string): Promise<JWTPayload | "unknown-key" | "over" | "wrong"> {
    const { issuer, audience, clock } = this.#options;
    const { createLocalJWKSet, errors, jwtVerify } = await import("jose");
    const options: JWTVerifyOptions = {
      issuer,
      audience,
      algorithms: [...signatures],
      requiredClaims: ["exp"],
      currentDate: new Date(clock.now()),
    };
    try {
      return (await jwtVerify(token, createLocalJWKSet(set), options)).payload;
    } catch (error) {
      if (error instanceof errors.JWKSNoMatchingKey) return "unknown-key";
      // Whatever else is wrong with it, or with a key: it isn't shown to be what it says.
      return error instanceof errors.JWTExpired ? "over" : "wrong";
    }
  }

  #remember(hash: string, verified: Verified): void {
    const { rememberedMaxCount = signedTokensMaxCount } = this.#options;
    this.#verified.delete(hash);
    const [oldest] = this.#verified.keys();
    if (this.#verified.size >= rememberedMaxCount && oldest !== undefined) this.#verified.delete(oldest);
    this.#verified.set(hash, verified);
  }
}

/** Three parts with dots between, as those of no other token: it isn't looked at as anything else then. */
export function isSignedToken(text: string): boolean {
  return /^[\w-]+\.[\w-]+\.[\w-]+$/.test(text);
}

export interface SignedIdentity {
  /** With a prefix that no other principal's name has: else who may choose a name there could be anybody here. */
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

export interface SignedTokensOptions {
  readonly issuer: string;
  /** Whom they have to be for. */
  readonly audience: string;
  /** Which claim names the principal. */
  readonly nameClaim: string;
  readonly keys: IssuerKeys;
  readonly clock: Clock;
  /** How many are remembered. Default `signedTokensMaxCount`. */
  readonly rememberedMaxCount?: number;
}

interface Verified extends SignedIdentity {
  readonly verifiedAtMs: number;
}

export const principalPrefix = "oidc:";

/** By private keys only: with a shared secret whoever verifies could sign. */
const signatures = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"];

function isSoundName(name: string): boolean {
  return (
    name.length > 0 &&
    name.length + principalPrefix.length <= principalNameMaxChars &&
    !/[\p{C}\p{Zl}\p{Zp},]/u.test(name) &&
    name.trim() === name
  );
}

function hashOf(token: string): string {
  return createHash("sha256").update(token).digest("base64url");
}
