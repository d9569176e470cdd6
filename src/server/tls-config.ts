import { ProglogError } from "../base/error.ts";
import { isLoopback } from "./bind-address.ts";
import type { Config } from "./config.ts";
import { parseNodeAddress } from "./node-address.ts";
import type { TlsConfig } from "./tls/tls-door.ts";
import type { TlsPlane } from "./tls/tls-plane.ts";

/** Throws INVALID_CONFIG for flags of TLS that make no sense together. */
export function checkTlsConfig(config: TlsConfig): void {
  const given = (value: string | null): boolean => value !== null;
  checkPair("server", config.serverTlsCertFile, config.serverTlsKeyFile, [
    ["server-tls-ca-file", given(config.serverTlsCaFile)],
    ["server-tls-crl-file", given(config.serverTlsCrlFile)],
  ]);
  checkPair("peer", config.peerTlsCertFile, config.peerTlsKeyFile, [
    ["peer-tls-ca-file", given(config.peerTlsCaFile)],
    ["peer-tls-crl-file", given(config.peerTlsCrlFile)],
  ]);
  if (config.serverTlsCrlFile !== null && config.serverTlsCaFile === null)
    throw refuse(
      "server-tls-crl-file",
      "--server-tls-crl-file",
      "no certificates of clients are asked for without --server-tls-ca-file",
    );
  if (config.peerTlsCertFile !== null && config.peerTlsCaFile === null)
    throw refuse(
      "peer-tls-ca-file",
      "--peer-tls-cert-file",
      "peers show certificates to each other, and --peer-tls-ca-file is missing",
    );
}

/**
 * Whether a node may be reached from anywhere: nobody can listen to or change what is said. Who it is that asks is access control's to see
 * to: without `--insecure` it answers nobody from elsewhere who doesn't say so. This is the one place that says so.
 */
export function isGuarded({ serverTlsCertFile }: Pick<TlsConfig, "serverTlsCertFile">): boolean {
  return serverTlsCertFile !== null;
}

/** Whether `--insecure` lets in from a network who has shown no certificate: all of them may do everything, unless there is an access policy. */
export function isExposed(config: TlsConfig & Pick<Config, "insecure" | "bindAddr">): boolean {
  return config.insecure && !isLoopback(config.bindAddr) && clientCertificatesOf(config) !== "required";
}

/** Whether clients show certificates: `none` are asked for, one is `optional`, or each is `required` to. */
export function clientCertificatesOf(config: TlsConfig): "none" | "optional" | "required" {
  const { serverTlsCertFile, serverTlsCaFile, serverTlsClientAuth } = config;
  if (serverTlsCertFile === null || serverTlsCaFile === null) return "none";
  return serverTlsClientAuth === "require" ? "required" : "optional";
}

/**
 * Throws INSECURE_ADDRESS for a node of a cluster that others reach over a network, and without certificates: whoever can send packets there
 * could vote, lead, and write any log. `--insecure` is about clients, and doesn't help.
 */
export function checkPeerAddress(config: TlsConfig & Pick<Config, "advertiseAddr" | "bindAddr">): void {
  const { advertiseAddr, bindAddr, peerTlsCertFile } = config;
  const host = advertiseAddr === null ? bindAddr : (parseNodeAddress(advertiseAddr)?.host ?? advertiseAddr);
  if (peerTlsCertFile !== null || isLoopback(host)) return;
  throw new ProglogError(
    "INSECURE_ADDRESS",
    `Cannot be reached by other nodes at ${host}: nodes of several machines speak with each other by mutual TLS only`,
    {
      hint: "Make certificates by proglog certs init and proglog certs node, and name them by --peer-tls-cert-file, --peer-tls-key-file and --peer-tls-ca-file.",
      details: { host },
    },
  );
}

/** Throws INVALID_CONFIG where the node is called one thing and its certificate another: no other node would speak with it. */
export function checkCertifiedName(
  { nodeName, peerTlsCertFile }: Pick<Config, "nodeName" | "peerTlsCertFile">,
  plane: TlsPlane | undefined,
): void {
  const certified = plane?.material.nodeName;
  if (nodeName === null || certified === undefined || certified === nodeName) return;
  throw refuse(
    "peer-tls-cert-file",
    `--peer-tls-cert-file ${peerTlsCertFile}`,
    `it is the certificate of ${certified}, and this node is called ${nodeName}`,
  );
}

function checkPair(
  plane: "server" | "peer",
  cert: string | null,
  key: string | null,
  others: readonly (readonly [name: string, isGiven: boolean])[],
): void {
  if (cert !== null && key === null)
    throw refuse(`${plane}-tls-key-file`, `--${plane}-tls-cert-file`, `--${plane}-tls-key-file is missing`);
  if (cert === null && key !== null)
    throw refuse(`${plane}-tls-cert-file`, `--${plane}-tls-key-file`, `--${plane}-tls-cert-file is missing`);
  for (const [name, isGiven] of others)
    if (isGiven && cert === null) throw refuse(name, `--${name}`, `--${plane}-tls-cert-file is missing`);
}

function refuse(key: string, what: string, reason: string): ProglogError {
  return new ProglogError("INVALID_CONFIG", `Cannot use ${what}: ${reason}`, { details: { key, source: `--${key}` } });
}
