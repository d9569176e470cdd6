import type { Clock, Timer } from "../base/clock.ts";
import type { Logger } from "../base/logger.ts";
import { securityReminderMs } from "../base/security-limits.ts";
import type { Config } from "./config.ts";
import { isExposed } from "./tls-config.ts";
import { type TlsConfig, TlsDoor, type TlsDoorOptions } from "./tls/tls-door.ts";

/** How the port is protected, for the status. */
export interface SecurityStatus {
  readonly clients: "clear" | "tls";
  /** Whether clients show certificates: `none` are asked for, one is `optional`, or each is `required` to. */
  readonly clientCertificates: "none" | "optional" | "required";
  readonly peers: "clear" | "mutual-tls";
  /** Anyone who reaches the port may read and write everything: `--insecure` has it so. */
  readonly isExposed: boolean;
}

export function describeSecurity(config: SecurityConfig): SecurityStatus {
  const { serverTlsCertFile, serverTlsCaFile, serverTlsClientAuth, peerTlsCertFile } = config;
  const isAsking = serverTlsCertFile !== null && serverTlsCaFile !== null;
  return {
    clients: serverTlsCertFile === null ? "clear" : "tls",
    clientCertificates: !isAsking ? "none" : serverTlsClientAuth === "require" ? "required" : "optional",
    peers: peerTlsCertFile === null ? "clear" : "mutual-tls",
    isExposed: isExposed(config),
  };
}

/** Undefined where nothing is encrypted. Throws INVALID_CONFIG. */
export function openTls(config: TlsConfig, options: TlsDoorOptions): TlsDoor | undefined {
  return config.serverTlsCertFile === null && config.peerTlsCertFile === null ? undefined : new TlsDoor(config, options);
}

/** Says now, and every hour, that anyone may use the node, until it is cancelled. */
export function remindOfExposure(
  { bindAddr }: Pick<Config, "bindAddr">,
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
): { cancel(): void } {
  let timer: Timer;
  const remind = (): void => {
    logger.warn({ bindAddr }, "--insecure: anyone who reaches this node's port may read and write everything");
    timer = clock.setTimer(securityReminderMs, remind);
  };
  remind();
  return { cancel: () => timer.cancel() };
}

type SecurityConfig = TlsConfig & Pick<Config, "insecure" | "bindAddr">;
