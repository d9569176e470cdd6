import type { JSONWebKeySet } from "jose";
import type { Clock } from "../../base/clock.ts";
import { messageOf, ProglogError } from "../../base/error.ts";
import type { Logger } from "../../base/logger.ts";
import { issuerAnswerMaxBytes, issuerAnswerMaxMs, issuerKeysMaxAgeMs, issuerKeysRetryMs } from "../../base/security-limits.ts";
import { isLoopback } from "../bind-address.ts";

/**
 * The public keys of who signs tokens. They are had when they are needed first, and again now and then; for a key that isn't known, too, but not more
 * often than now and then: whoever makes up names of keys mustn't have the node ask for each. What was had last counts until there is
 * something newer.
 */
export class IssuerKeys {
  readonly #options: IssuerKeysOptions;
  #keys: JSONWebKeySet | undefined;
  #readAtMs = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | undefined;

  constructor(options: IssuerKeysOptions) {
    this.#options = options;
  }

  /** Throws UNAVAILABLE where they never were to be had. */
  async get(): Promise<JSONWebKeySet> {
    const ageMs = this.#options.clock.monotonic() - this.#readAtMs;
    if (ageMs >= (this.#keys === undefined ? issuerKeysRetryMs : issuerKeysMaxAgeMs)) await this.#read();
    if (this.#keys !== undefined) return this.#keys;
    throw new ProglogError("UNAVAILABLE", "Cannot tell who asks: the keys of who signed its token can't be had", {
      hint: "Come back; the node's diagnostics say what is wrong with them.",
      details: { outcome: "not-appended" },
    });
  }

  /** As they are now, since one was missing; undefined where that was asked a moment ago. */
  async getNewer(): Promise<JSONWebKeySet | undefined> {
    if (this.#options.clock.monotonic() - this.#readAtMs < issuerKeysRetryMs) return undefined;
    await this.#read();
    return this.#keys;
  }

  /** Whoever comes meanwhile waits for the same. It never rejects. */
  #read(): Promise<void> {
    this.#reading ??= this.#readOnce().finally(() => (this.#reading = undefined));
    return this.#reading;
  }

  async #readOnce(): Promise<void> {
    const { read, clock, logger } = this.#options;
    this.#readAtMs = clock.monotonic();
    try {
      this.#keys = checkKeys(JSON.parse(await read()));
    } catch (error) {
      logger.error({ reason: messageOf(error) }, "the keys of who signs tokens can't be had");
    }
  }
}

export interface IssuerKeysOptions {
  /** A JSON Web Key Set. */
  readonly read: () => Promise<string>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** From where the issuer says that its keys are (OpenID Connect Discovery). Only over TLS, but for this machine, and nowhere else than told. */
export async function fetchIssuerKeys(issuer: string, fetcher: typeof fetch = fetch): Promise<string> {
  const base = checkIssuerUrl(issuer);
  const found: unknown = JSON.parse(await fetchText(`${base.replace(/\/$/, "")}/.well-known/openid-configuration`, fetcher));
  const { issuer: named, jwks_uri: keysUrl } = (found ?? {}) as Readonly<Record<string, unknown>>;
  if (named !== issuer) throw new Error("the issuer calls itself something else");
  if (typeof keysUrl !== "string") throw new Error("the issuer doesn't say where its keys are");
  return fetchText(checkIssuerUrl(keysUrl), fetcher);
}

/** Throws INVALID_CONFIG for what is no address by which keys may come. */
export function checkIssuerUrl(text: string): string {
  const url = URL.parse(text);
  const isSafe = url?.protocol === "https:" || (url?.protocol === "http:" && isLoopback(url.hostname.replace(/^\[|\]$/g, "")));
  if (isSafe && url?.username === "" && url.search === "" && url.hash === "") return text;
  throw new ProglogError(
    "INVALID_CONFIG",
    `Cannot use ${JSON.stringify(text.slice(0, 256))} as an issuer of tokens: it is no https URL`,
    {
      hint: "As in https://login.example/realms/main; or name a file of its keys with --oidc-keys-file.",
    },
  );
}

async function fetchText(url: string, fetcher: typeof fetch): Promise<string> {
  const signal = AbortSignal.timeout(issuerAnswerMaxMs);
  const response = await fetcher(url, { redirect: "error", signal, headers: { accept: "application/json" } });
  if (response.status !== 200 || response.body === null) throw new Error(`${url} answers ${response.status}`);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > issuerAnswerMaxBytes) throw new Error(`${url} answers more than ${issuerAnswerMaxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function checkKeys(value: unknown): JSONWebKeySet {
  const { keys } = (value ?? {}) as { readonly keys?: unknown };
  if (Array.isArray(keys) && keys.every((key) => typeof key === "object" && key !== null)) return value as JSONWebKeySet;
  throw new Error("it is no set of keys");
}
