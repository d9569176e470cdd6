import type { Socket } from "node:net";

/** Notes which node the certificate at the other end of a peer's connection names, once its handshake is done. */
export function setCertifiedNode(socket: Socket, nodeName: string): void {
  certifiedNodes.set(socket, nodeName);
}

/** Undefined on a connection without certificates, which only nodes of one machine have. */
export function certifiedNodeOf(socket: Socket): string | undefined {
  return certifiedNodes.get(socket);
}

const certifiedNodes = new WeakMap<Socket, string>();
