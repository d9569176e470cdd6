import type { Duplex } from "node:stream";

/** Who is at the other end of a connection or a request. */
export interface Principal {
  /** `anonymous`: nothing was shown, or nobody asks for it here. */
  readonly kind: "anonymous" | "certificate" | "token" | "signed-token";
  /** What rules of access name: of a certificate its first SAN URI, else its common name; of a token its name, of a signed one `oidc:` and what it names. "" when anonymous. */
  readonly name: string;
}

export const anonymous: Principal = { kind: "anonymous", name: "" };

/** Notes who a connection's certificate names, once its handshake is done. */
export function setPrincipal(socket: Duplex, principal: Principal): void {
  principals.set(socket, principal);
}

/** Whom the connection's certificate names; anonymous where it showed none. */
export function principalOf(socket: Duplex): Principal {
  return principals.get(socket) ?? anonymous;
}

const principals = new WeakMap<Duplex, Principal>();
