import { grpcStatusMessageMaxBytes } from "../base/limits.ts";

/**
 * `grpc-message` is percent-encoded UTF-8: everything outside of printable ASCII, and the percent sign. A header can't be of any
 * length, so a longer message is cut, at the end of a character.
 */
export function encodeStatusMessage(message: string): string {
  if (message.length <= grpcStatusMessageMaxBytes && /^[ -$&-~]*$/.test(message)) return message;
  let encoded = "";
  for (const character of message) {
    const next = /^[ -$&-~]$/.test(character) ? character : percentEncode(character);
    if (encoded.length + next.length > grpcStatusMessageMaxBytes) break;
    encoded += next;
  }
  return encoded;
}

/** Never throws: what isn't a percent sign and two hexadecimal digits stays as it is, and bytes that aren't UTF-8 become U+FFFD. */
export function decodeStatusMessage(encoded: string): string {
  if (!encoded.includes("%")) return encoded;
  const bytes: number[] = [];
  for (let at = 0; at < encoded.length; at += 1) {
    const hex = encoded[at] === "%" ? encoded.slice(at + 1, at + 3) : "";
    if (/^[0-9a-fA-F]{2}$/.test(hex)) {
      bytes.push(Number.parseInt(hex, 16));
      at += 2;
    } else {
      bytes.push(encoded.charCodeAt(at) & 0xff);
    }
  }
  return Buffer.from(bytes).toString("utf8");
}

function percentEncode(character: string): string {
  // A lone half of a surrogate pair becomes U+FFFD here, as everywhere in UTF-8.
  return [...Buffer.from(character, "utf8")].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join("");
}
