import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { messageOf, ProglogError } from "../../base/error.ts";
import { otlpAnswerMaxBytes } from "../../base/limits.ts";

export interface OtlpTarget {
  /** `http://collector:4318`: what is sent goes below it, to `/v1/metrics`. */
  readonly endpoint: string;
  /** "name=value", several with a comma between; values percent-encoded where they must be. */
  readonly headers: string | null;
}

/** What the collector made of it. */
export type OtlpOutcome = "sent" | "partial";

/**
 * Sends one message to a collector, as JSON in gzip. Throws UNAVAILABLE with the reason: nobody there, no answer before `signal` is aborted, or a
 * status that isn't good.
 */
export async function sendOtlp(target: OtlpTarget, path: string, message: object, signal: AbortSignal): Promise<OtlpOutcome> {
  const url = `${target.endpoint.replace(/\/$/, "")}${path}`;
  const body = await compress(JSON.stringify(message));
  const fail = (reason: string, cause?: unknown): ProglogError =>
    new ProglogError("UNAVAILABLE", `Cannot push to ${URL.parse(url)?.host ?? url}: ${reason}`, { cause });
  let response: Response;
  let text: string;
  try {
    response = await fetch(url, {
      method: "POST",
      headers: { ...parseHeaders(target.headers), "content-type": "application/json", "content-encoding": "gzip" },
      body: new Uint8Array(body),
      // Headers that are a secret are for who was named, and nobody else.
      redirect: "error",
      signal,
    });
    text = await readText(response);
  } catch (error) {
    throw fail(signal.aborted ? "it took too long" : reasonOf(error), error);
  }
  if (!response.ok) throw fail(`it answers ${response.status}${text === "" ? "" : `: ${text.slice(0, 200)}`}`);
  return isPartial(text) ? "partial" : "sent";
}

/** `name=value` by commas, as OTEL_EXPORTER_OTLP_HEADERS has them; undefined for what is none. */
export function parseHeaders(text: string | null): Record<string, string> | undefined {
  const headers: Record<string, string> = {};
  for (const pair of text?.split(",") ?? []) {
    const [, name, value] = /^\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(.*?)\s*$/.exec(pair) ?? [];
    if (name === undefined || value === undefined) return undefined;
    try {
      headers[name.toLowerCase()] = decodeURIComponent(value);
    } catch {
      // A percent sign that begins nothing.
      return undefined;
    }
  }
  return headers;
}

const compress = promisify(gzip);

async function readText(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk as Uint8Array, { stream: true });
    // What comes behind it is of no interest, and is dropped with the connection.
    if (text.length > otlpAnswerMaxBytes) break;
  }
  return text;
}

/** fetch says "fetch failed", and why in its cause. */
function reasonOf(error: unknown): string {
  return error instanceof Error && error.cause instanceof Error ? messageOf(error.cause) : messageOf(error);
}

function isPartial(text: string): boolean {
  try {
    const { partialSuccess } = JSON.parse(text) as { readonly partialSuccess?: { readonly errorMessage?: string } };
    return partialSuccess !== undefined && Object.keys(partialSuccess).length > 0;
  } catch {
    // Collectors may answer with nothing at all.
    return false;
  }
}
