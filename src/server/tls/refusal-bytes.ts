import { unreachable } from "../../base/assert.ts";
import { ProglogError } from "../../base/error.ts";
import { encodePeerFrame } from "../../wire/peer-frame.ts";
import { encodeRefusal } from "../../wire/peer-question.ts";
import type { Protocol } from "../protocol.ts";

/**
 * What is written to a connection that isn't taken, in the words of the protocol that it speaks: fixed bytes, made without reading any of
 * what it says. A TLS handshake can't tell it: Node judges a certificate only when the handshake is over.
 */
export function refusalBytes(
  protocol: Protocol,
  { status, reason, nowMs }: { readonly status: 400 | 403; readonly reason: string; readonly nowMs: number },
): Buffer {
  switch (protocol) {
    case "http1": {
      const body = `${reason}\n`;
      const head = [
        `HTTP/1.1 ${status} ${status === 400 ? "Bad Request" : "Forbidden"}`,
        `date: ${new Date(nowMs).toUTCString()}`,
        "content-type: text/plain; charset=utf-8",
        `content-length: ${Buffer.byteLength(body)}`,
        "connection: close",
      ];
      return Buffer.from(`${head.join("\r\n")}\r\n\r\n${body}`);
    }
    case "http2": {
      // SETTINGS, which have to come first, and GOAWAY for call 0: nothing that was sent is ever looked at.
      const text = Buffer.from(reason);
      const goaway = Buffer.alloc(17);
      goaway.writeUIntBE(8 + text.length, 0, 3);
      goaway[3] = 7;
      goaway.writeUInt32BE(inadequateSecurity, 13);
      return Buffer.concat([emptySettings, goaway, text]);
    }
    case "peer": {
      const error = new ProglogError("PEER_REFUSED", `Cannot speak with this node: ${reason}`);
      return Buffer.concat(encodePeerFrame("refusal", encodeRefusal(0, error)));
    }
    default:
      return unreachable(protocol);
  }
}

const emptySettings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);

/** HTTP/2's code for a connection whose encryption isn't good enough. */
const inadequateSecurity = 0xc;
