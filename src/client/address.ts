import { ProglogError } from "../base/error.ts";

/** Whether it is `host:port`, with an IPv6 address in brackets. */
export function isAddress(text: string): boolean {
  const match = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.%]+\]):(\d{1,5})$/.exec(text);
  const port = Number(match?.[1]);
  return match !== null && port >= 1 && port <= 65_535;
}

/** Addresses without their schemes, and whether they are to be spoken with over TLS: all or none. Throws INVALID_ARGUMENT. */
export function readAddresses(
  given: readonly string[],
  { hasTls }: { readonly hasTls: boolean },
): { readonly addresses: readonly string[]; readonly isEncrypted: boolean } {
  const read = given.map(readAddress);
  const isEncrypted = hasTls || read.some(({ scheme }) => scheme === "https");
  const clear = read.findIndex(({ scheme }) => scheme === "http");
  if (isEncrypted && clear >= 0)
    throw new ProglogError(
      "INVALID_ARGUMENT",
      `Cannot connect to ${JSON.stringify(given[clear])}: it is in clear, and ${hasTls ? "tls is given" : "another is https"}`,
    );
  return { addresses: read.map(({ address }) => address), isEncrypted };
}

function readAddress(text: string): { readonly scheme: string | undefined; readonly address: string } {
  const [, scheme, address = ""] = /^(?:(https?):\/\/)?([^/]*)\/?$/.exec(text) ?? [];
  if (isAddress(address)) return { scheme, address };
  throw new ProglogError("INVALID_ARGUMENT", `Cannot connect to ${JSON.stringify(text.slice(0, 100))}: it is no host:port`, {
    hint: "Write it like 127.0.0.1:8000, with https:// before it over TLS, and an IPv6 address in brackets.",
  });
}
