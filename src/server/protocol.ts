import { peerMagic } from "../wire/peer-frame.ts";

/** What a connection speaks, told by its first bytes. */
export type Protocol = "http1" | "http2" | "peer";

/**
 * `undecided` asks for more bytes. The protocols are told apart by what can't be mistaken: HTTP/2 begins with a fixed preface, another
 * node with its magic, HTTP/1.1 with a method in capitals. TLS (0x16) and other binary protocols begin with none of them.
 */
export function classifyProtocol(received: Buffer): Protocol | "unknown" | "undecided" {
  const first = received[0];
  if (first === undefined) return "undecided";
  for (const [start, protocol] of starts) {
    if (received.length >= start.length) {
      if (received.subarray(0, start.length).equals(start)) return protocol;
    } else if (received.equals(start.subarray(0, received.length))) {
      return "undecided";
    }
  }
  const isCapital = first >= 0x41 && first <= 0x5a;
  // A client may send an empty line before its request (RFC 9112 §2.2).
  const isLineBreak = first === 0x0d || first === 0x0a;
  return isCapital || isLineBreak ? "http1" : "unknown";
}

const http2Preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

const starts = [
  [http2Preface, "http2"],
  [peerMagic, "peer"],
] as const;

/** By then it is decided. */
export const protocolMaxBytes = http2Preface.length;
