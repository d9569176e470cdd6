import { lookup as systemLookup } from "node:dns/promises";
import { isIP } from "node:net";
import { ProglogError } from "../base/error.ts";
import { formationAddressesMaxCount } from "../base/cluster-limits.ts";
import { formatNodeAddress, parseNodeAddress } from "./node-address.ts";

export type Lookup = (host: string) => Promise<readonly { readonly address: string }[]>;

/**
 * The addresses behind a join address, asked for anew each time: a name may mean other nodes tomorrow. A name that means one address is
 * kept as it is, since a certificate is for a name. Throws UNAVAILABLE when it can't be found.
 */
export async function resolveAddress(address: string, lookup: Lookup = lookupAll): Promise<readonly string[]> {
  const parsed = parseNodeAddress(address);
  if (parsed === undefined) throw new ProglogError("UNAVAILABLE", `Cannot find ${address}: it isn't host:port`);
  if (isIP(parsed.host) !== 0) return [formatNodeAddress(parsed)];
  let found: readonly { readonly address: string }[];
  try {
    found = await lookup(parsed.host);
  } catch (error) {
    throw new ProglogError("UNAVAILABLE", `Cannot find ${address}: ${parsed.host} isn't known`, { cause: error });
  }
  const hosts = [...new Set(found.map((entry) => entry.address))].slice(0, formationAddressesMaxCount);
  if (hosts.length === 0) throw new ProglogError("UNAVAILABLE", `Cannot find ${address}: ${parsed.host} has no address`);
  return hosts.length === 1 ? [formatNodeAddress(parsed)] : hosts.map((host) => formatNodeAddress({ host, port: parsed.port }));
}

function lookupAll(host: string): Promise<readonly { readonly address: string }[]> {
  return systemLookup(host, { all: true });
}
