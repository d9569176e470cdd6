/** What a connection speaks, told by its first bytes. */
export type Protocol = "http1" | "http2";

/**
 * `undecided` asks for more bytes. The protocols are told apart by what can't be mistaken: HTTP/2 begins with a fixed preface,
 * HTTP/1.1 with a method in capitals. TLS (0x16) and binary protocols begin with neither.
 */
export function classifyProtocol(received: Buffer): Protocol | "unknown" | "undecided" {
  const first = received[0];
  if (first === undefined) return "undecided";
  if (received.length >= http2Preface.length) {
    if (received.subarray(0, http2Preface.length).equals(http2Preface)) return "http2";
  } else if (received.equals(http2Preface.subarray(0, received.length))) {
    return "undecided";
  }
  const isCapital = first >= 0x41 && first <= 0x5a;
  // A client may send an empty line before its request (RFC 9112 §2.2).
  const isLineBreak = first === 0x0d || first === 0x0a;
  return isCapital || isLineBreak ? "http1" : "unknown";
}

const http2Preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/** By then it is decided. */
export const protocolMaxBytes = http2Preface.length;
