import { isIP } from "node:net";

/** Where a node is reached. */
export interface NodeAddress {
  /** A name or an IP address, an IPv6 address without brackets. */
  readonly host: string;
  readonly port: number;
}

export const portDefault = 8000;

/** Reads `host`, `host:port`, `1.2.3.4:port` or `[::1]:port`; undefined for what is none. Without a port it is 8000. */
export function parseNodeAddress(text: string): NodeAddress | undefined {
  const found = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?$/.exec(text);
  if (found === null) return undefined;
  const [, bracketed, plain, portText] = found;
  const host = bracketed ?? plain ?? "";
  const port = portText === undefined ? portDefault : Number(portText);
  if (port < 1 || port > 65_535) return undefined;
  if (bracketed !== undefined && isIP(bracketed) !== 6) return undefined;
  return host.length > 253 ? undefined : { host, port };
}

export function formatNodeAddress({ host, port }: NodeAddress): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}
