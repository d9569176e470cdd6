import type { IncomingHttpHeaders } from "node:http";
import { ProglogError } from "../base/error.ts";
import { isLoopback } from "./bind-address.ts";

/**
 * Keeps web pages out that a browser on this machine has open: any page may send requests to a loopback port, and some without
 * asking (a form, a text/plain POST). Two things give them away.
 *
 * - `Origin` names the page's site. It must be this server's own, as `Host` names it, or one that the operator allows.
 * - A page whose site's name was made to mean 127.0.0.1 (DNS rebinding) has an honest `Origin`, but its `Host` is that name. A
 *   node that listens on loopback only is asked for by a loopback name, and by no other.
 *
 * Throws FORBIDDEN_ORIGIN. Programs send no `Origin`, and the `Host` that they connect to.
 */
export function checkBrowser(
  { origin, host }: IncomingHttpHeaders,
  { isLoopbackOnly, allowedOrigins = [] }: { readonly isLoopbackOnly: boolean; readonly allowedOrigins?: readonly string[] },
): void {
  if (isLoopbackOnly && host !== undefined && !isLoopback(hostNameOf(host))) {
    throw forbidden(
      `a request for host ${shorten(host)}`,
      "this node serves this machine only",
      "Ask for 127.0.0.1 or localhost.",
    );
  }
  if (origin === undefined || (host !== undefined && isSameHost(origin, host))) return;
  if (allowedOrigins.includes(origin)) return;
  throw forbidden(
    `a request of a page of ${shorten(origin)}`,
    "pages of other sites may not use this node",
    "Send it from a program, or start the node with --allow-origin.",
  );
}

/** The name or address of a Host header, without port and brackets. */
function hostNameOf(host: string): string {
  const name = URL.canParse(`http://${host}`) ? new URL(`http://${host}`).hostname : host;
  return name.replace(/^\[(.*)\]$/, "$1");
}

function isSameHost(origin: string, host: string): boolean {
  if (!URL.canParse(origin) || !URL.canParse(`http://${host}`)) return false;
  return new URL(origin).host === new URL(`http://${host}`).host;
}

/** What the other side wrote stands in an error: not more of it than one can read. */
function shorten(text: string): string {
  return text.length <= 64 ? text : `${text.slice(0, 64)}…`;
}

function forbidden(what: string, because: string, hint: string): ProglogError {
  return new ProglogError("FORBIDDEN_ORIGIN", `Cannot take ${what}: ${because}`, { hint });
}
