import type { ChannelOptions } from "../grpc/index.ts";

/** What a client trusts and shows. Certificates and keys are PEM: text, or the bytes of a file. */
export interface ClientTls {
  /** Authorities of the nodes' certificates. Default: those that the system trusts. */
  readonly ca?: string | Uint8Array;
  /** The client's certificate, and those between it and its authority, where nodes ask for one. With it, its key. */
  readonly cert?: string | Uint8Array;
  readonly key?: string | Uint8Array;
  /** What has to stand in the nodes' certificates. Default: the host that is dialed, of each node its own. */
  readonly serverName?: string;
}

/** As a channel wants it, made anew with each connection. */
export function connectionOptionsOf(tls: ClientTls | (() => ClientTls)): NonNullable<ChannelOptions["tls"]> {
  return () => {
    const { ca, cert, key, serverName } = typeof tls === "function" ? tls() : tls;
    return {
      ...(ca === undefined ? {} : { ca: pem(ca) }),
      ...(cert === undefined ? {} : { cert: pem(cert) }),
      ...(key === undefined ? {} : { key: pem(key) }),
      ...(serverName === undefined ? {} : { servername: serverName }),
      minVersion: "TLSv1.2",
    };
  };
}

function pem(value: string | Uint8Array): string | Buffer {
  return typeof value === "string" ? value : Buffer.from(value);
}
