/**
 * The bytes of a text in standard, padded base64 (RFC 4648 §4), or undefined when it is none. Line breaks inside it are skipped,
 * as Go's decoder does. Node's own decoder takes anything and drops what it doesn't know: wrong input would be stored as other bytes.
 */
export function decodeBase64(text: string): Buffer | undefined {
  const packed = /[\r\n]/.test(text) ? text.replaceAll(/[\r\n]/g, "") : text;
  if (packed.length % 4 !== 0 || !base64Pattern.test(packed)) return undefined;
  return Buffer.from(packed, "base64");
}

/** One class, then the padding: nothing that backtracks, however long the text. */
const base64Pattern = /^[A-Za-z0-9+/]*={0,2}$/;
