import { BlockList, isIP } from "node:net";
import { ProglogError } from "../base/error.ts";

/**
 * Throws INSECURE_ADDRESS when `host` can be reached from another machine, unless the node is guarded: without encryption whoever is on the
 * way reads and changes everything, and may use what others show to say who they are. A name other than `localhost` counts as such, as it may mean anything
 * tomorrow. Throws INVALID_CONFIG for what is no host.
 */
export function checkBindAddress(
  host: string,
  { isInsecure, isGuarded = false }: { readonly isInsecure: boolean; readonly isGuarded?: boolean },
): void {
  if (/\s|\/|^$/.test(host) || (isIP(host) === 0 && host.includes(":"))) {
    throw new ProglogError("INVALID_CONFIG", `Cannot listen on ${JSON.stringify(host)}: it is no host name or address`, {
      hint: "Name the host alone, as in 127.0.0.1; the port is --rpc-port.",
    });
  }
  if (isInsecure || isGuarded || isLoopback(host)) return;
  throw new ProglogError(
    "INSECURE_ADDRESS",
    `Cannot listen on ${host}: anyone who reaches it could read and write everything`,
    {
      hint: "Listen on 127.0.0.1; or use TLS, by --server-tls-cert-file and --server-tls-key-file (proglog certs makes them), where clients show certificates or tokens; or say --insecure when the network is trusted.",
    },
  );
}

export function isLoopback(host: string): boolean {
  if (host === "localhost") return true;
  const family = isIP(host);
  return family !== 0 && loopback.check(host, family === 6 ? "ipv6" : "ipv4");
}

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");
