/**
 * Writes DER (X.690), as much of it as a certificate of ours needs: each function returns one value with its tag and length, so that a
 * certificate reads in the code as it does in RFC 5280.
 */
export const der = {
  sequence: (...values: readonly Buffer[]): Buffer => value(0x30, ...values),
  set: (...values: readonly Buffer[]): Buffer => value(0x31, ...values),
  boolean: (is: boolean): Buffer => value(0x01, Buffer.from([is ? 0xff : 0])),
  /** Of bytes, the highest first: a number that isn't negative. */
  integer: (bytes: Buffer | number): Buffer => value(0x02, positive(typeof bytes === "number" ? numberBytes(bytes) : bytes)),
  bitString: (bytes: Buffer, unusedBits = 0): Buffer => value(0x03, Buffer.from([unusedBits]), bytes),
  octetString: (bytes: Buffer): Buffer => value(0x04, bytes),
  objectIdentifier,
  utf8: (text: string): Buffer => value(0x0c, Buffer.from(text)),
  time,
  /** A tag that its context gives a meaning, around other values. */
  tagged: (number: number, ...values: readonly Buffer[]): Buffer => value(0xa0 + number, ...values),
  /** The same in the place of a value's own tag. */
  taggedBytes: (number: number, bytes: Buffer): Buffer => value(0x80 + number, bytes),
};

function value(tag: number, ...contents: readonly Buffer[]): Buffer {
  const content = Buffer.concat(contents);
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content]);
  const bytes = numberBytes(length);
  return Buffer.concat([Buffer.from([tag, 0x80 + bytes.length]), bytes, content]);
}

function numberBytes(number: number): Buffer {
  const hex = number.toString(16);
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, "hex");
}

/** As few bytes as it takes, and a zero before a first bit that would make it negative. */
function positive(bytes: Buffer): Buffer {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start += 1;
  const short = bytes.subarray(start);
  return (short[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), short]) : short;
}

function objectIdentifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  const bytes = [first * 40 + second];
  for (const number of rest) {
    const groups = [number % 128];
    for (let left = Math.floor(number / 128); left > 0; left = Math.floor(left / 128)) groups.unshift(128 + (left % 128));
    bytes.push(...groups);
  }
  return value(0x06, Buffer.from(bytes));
}

/** Two digits of the year until 2049, four from then on, as RFC 5280 has it. Whole seconds. */
function time(atMs: number): Buffer {
  const digits = new Date(atMs).toISOString().replaceAll(/\.\d+|[-:T]/g, "");
  return digits < "2050" ? value(0x17, Buffer.from(digits.slice(2))) : value(0x18, Buffer.from(digits));
}
