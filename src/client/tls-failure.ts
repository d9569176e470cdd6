import { systemErrorCode } from "../base/disk.ts";
import { isProglogError, messageOf } from "../base/error.ts";

/** Why a connection over TLS didn't come about. `details.tls` of the error holds its kind. */
export interface TlsFailure {
  /** `untrusted`: who answers isn't who it should be. `refused`: it doesn't take this client. `failed`: they don't understand each other. */
  readonly tls: "untrusted" | "refused" | "failed";
  readonly reason: string;
  readonly hint: string;
}

/** Undefined when it was about something else. */
export function tlsFailureOf({ cause }: { readonly cause?: unknown }, address: string): TlsFailure | undefined {
  if (cause === undefined) return undefined;
  const code = systemErrorCode(cause) ?? "";
  const said = messageOf(cause);
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID")
    return untrusted(`the certificate of ${address} is for other addresses (${said})`, nameHint);
  if (untrustedCodes.test(code)) return untrusted(`the certificate of ${address} isn't trusted (${code})`, trustHint);
  if (/^ERR_SSL_.*ALERT/.test(code)) {
    const reason = `${address} refuses this client's certificate, or that it shows none (${code})`;
    return { tls: "refused", reason, hint: certHint };
  }
  if (/^ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG)/.test(code) || said.includes("before secure TLS connection"))
    return {
      tls: "failed",
      reason: `${address} doesn't answer in TLS`,
      hint: "Does it speak TLS? In clear it is asked by http://.",
    };
  // What can't be read, or isn't a certificate and its key, was this side's.
  if (isProglogError(cause)) return { tls: "failed", reason: lowerFirst(said), hint: cause.hint ?? fileHint };
  if (/^ERR_(SSL|OSSL|TLS|INVALID_ARG)/.test(code))
    return { tls: "failed", reason: `there is no TLS connection to ${address} (${said})`, hint: fileHint };
  return undefined;
}

function untrusted(reason: string, hint: string): TlsFailure {
  return { tls: "untrusted", reason, hint };
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}

/** OpenSSL's words for what is wrong with a certificate. */
const untrustedCodes =
  /^(CERT_|CRL_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|INVALID_(CA|PURPOSE)|HOSTNAME_MISMATCH|PATH_LENGTH|ERROR_IN_CERT)/;

const trustHint = "Name its authority by tls.ca (on the command line --tls-ca-file).";
const nameHint = "Dial it by a name in its certificate, or say which by tls.serverName (--tls-server-name).";
const certHint = "Show one that it takes, by tls.cert and tls.key (--tls-cert-file, --tls-key-file).";
const fileHint = "Look at what tls names: certificates and keys in PEM, a key beside its certificate.";
