import { lookup } from "node:dns/promises";
import { connect, isIP, type Socket } from "node:net";
import { ProglogError } from "../base/error.ts";
import { isLoopback } from "./bind-address.ts";
import type { PeerConnect, PeerResolve } from "./peer-context.ts";

/** `host:port`, where the host is a name or an address; one of IPv6 stands in brackets. Throws INVALID_ARGUMENT. */
export function parsePeerAddress(address: string): { readonly host: string; readonly port: number } {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(address) ?? [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  const isSound = bracketed === undefined || isIP(bracketed) === 6;
  if (host === undefined || !isSound || port < 1 || port > 65_535)
    throw new ProglogError(
      "INVALID_ARGUMENT",
      `Cannot reach ${JSON.stringify(address)}: it is no address of the form host:port`,
      {
        hint: "Write node-1.example:8000, 10.0.0.1:8000 or [::1]:8000.",
      },
    );
  return { host, port };
}

/** By the system's resolver, in its order. */
export const resolveBySystem: PeerResolve = async (host) => {
  if (isIP(host) > 0) return [host];
  const found = await lookup(host, { all: true, order: "verbatim" });
  return found.map(({ address }) => address);
};

/** In clear, which only nodes of one machine do: `host` has to be loopback. */
export const connectPlainly: PeerConnect = ({ host, port, name }, signal) => {
  if (!isLoopback(host)) return Promise.reject(notByClear(name, port));
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = connect({ host, port, noDelay: true });
  const abort = (): void => void socket.destroy(new ProglogError("CANCELLED", "Cannot connect: nobody waits for it any more"));
  signal.addEventListener("abort", abort, { once: true });
  socket.once("error", reject);
  socket.once("connect", () => {
    signal.removeEventListener("abort", abort);
    socket.off("error", reject);
    resolve(socket);
  });
  if (signal.aborted) abort();
  return promise;
};

function notByClear(name: string, port: number): ProglogError {
  return new ProglogError(
    "INSECURE_ADDRESS",
    `Cannot speak with the node at ${name}:${port}: nodes of several machines speak with each other by mutual TLS only`,
    { hint: "Name certificates by --peer-tls-cert-file, --peer-tls-key-file and --peer-tls-ca-file." },
  );
}
