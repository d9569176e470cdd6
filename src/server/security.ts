import type { Clock, Timer } from "../base/clock.ts";
import type { Logger } from "../base/logger.ts";
import { securityReminderMs } from "../base/security-limits.ts";
import type { Config } from "./config.ts";
import { clientCertificatesOf, isExposed } from "./tls-config.ts";
import { type TlsConfig, TlsDoor, type TlsDoorOptions } from "./tls/tls-door.ts";

/** How the port is protected, for the status. */
export interface SecurityStatus {
  readonly clients: "clear" | "tls";
  readonly clientCertificates: "none" | "optional" | "required";
  readonly peers: "clear" | "mutual-tls";
  /** Anyone who reaches the port may read and write everything: `--insecure` has it so, and there is no access policy. */
  readonly isExposed: boolean;
}

export function describeSecurity(config: SecurityConfig, access: { readonly isOn: boolean }): SecurityStatus {
  return {
    clients: config.serverTlsCertFile === null ? "clear" : "tls",
    clientCertificates: clientCertificatesOf(config),
    peers: config.peerTlsCertFile === null ? "clear" : "mutual-tls",
    isExposed: isExposed(config) && !access.isOn,
  };
}

/** Undefined where nothing is encrypted. Throws INVALID_CONFIG. */
export function openTls(config: TlsConfig, options: TlsDoorOptions): TlsDoor | undefined {
  return config.serverTlsCertFile === null && config.peerTlsCertFile === null ? undefined : new TlsDoor(config, options);
}

/** Says now, and every hour, what `--insecure` makes of the node, until it is cancelled. Undefined where it makes nothing of it. */
export function remindOfExposure(
  config: SecurityConfig,
  { clock, logger, access }: { readonly clock: Clock; readonly logger: Logger; readonly access: { readonly isOn: boolean } },
): { cancel(): void } | undefined {
  if (!isExposed(config)) return undefined;
  const { bindAddr } = config;
  let timer: Timer;
  const remind = (): void => {
    if (describeSecurity(config, access).isExposed)
      logger.warn({ bindAddr }, "--insecure: anyone who reaches this node's port may read and write everything");
    else if (config.serverTlsCertFile === null)
      logger.warn({ bindAddr }, "--insecure: what clients say and show to this node can be read and changed on its way");
    timer = clock.setTimer(securityReminderMs, remind);
  };
  remind();
  return { cancel: () => timer.cancel() };
}

type SecurityConfig = TlsConfig & Pick<Config, "insecure" | "bindAddr">;
