import { ProglogError } from "../base/error.ts";

export interface ServerAddress {
  readonly host: string;
  readonly port: number;
  /** Undefined where the address doesn't say. */
  readonly scheme?: "http" | "https";
}

export const serverDefault = "127.0.0.1:8000";
const portDefault = 8000;

/** Reads `--server`: a host (port 8000), a host and a port, or a URL (`https://localhost:8000`). Throws INVALID_ARGUMENT. */
export function parseServerAddress(text: string): ServerAddress {
  const hasScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(text);
  // Without a scheme one that has no port of its own stands in, so that ":80" isn't dropped as http's default.
  const url = URL.parse(hasScheme ? text : `proglog://${text}`);
  if (url === null || url.hostname === "") throw refuse(text, "it is neither host:port nor a URL");
  const scheme = schemes[url.protocol];
  if (hasScheme && scheme === undefined)
    throw refuse(text, `it asks for ${url.protocol.slice(0, -1)}, and only http and https are spoken`);
  if (!["", "/"].includes(url.pathname) || url.search !== "" || url.hash !== "" || url.username !== "") {
    throw refuse(text, "it holds more than a host and a port");
  }
  const port = url.port === "" ? (scheme === undefined ? portDefault : portsOfSchemes[scheme]) : Number(url.port);
  return { host: url.hostname.replace(/^\[|\]$/g, ""), port, ...(scheme === undefined ? {} : { scheme }) };
}

const schemes: Readonly<Record<string, "http" | "https">> = { "http:": "http", "https:": "https" };
const portsOfSchemes = { http: 80, https: 443 } as const;

export function formatServerAddress(address: ServerAddress): string {
  return `${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;
}

function refuse(text: string, reason: string): ProglogError {
  return new ProglogError("INVALID_ARGUMENT", `Cannot use the server ${JSON.stringify(text)}: ${reason}`, {
    hint: `Say host:port, as in ${serverDefault}.`,
  });
}
