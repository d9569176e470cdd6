/**
 * Reads the few fields of certificates and revocation lists that decide something, from their bytes: as text, the way node:crypto
 * gives them, one name can look like another. OpenSSL has verified a certificate before this sees it; a list is the operator's own file.
 * Only DER is read: lengths of the shortest form, tags of one byte.
 */
export class DerReader {
  readonly #bytes: Buffer;
  #position = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#position >= this.#bytes.length;
  }

  /** The tag of the next value; undefined at the end. */
  get nextTag(): number | undefined {
    return this.#bytes[this.#position];
  }

  /** The next value. Throws `DerError` at the end, and where it isn't DER. */
  next(): DerValue {
    const start = this.#position;
    const tag = this.#byte();
    if ((tag & 0x1f) === 0x1f) throw new DerError("a tag has several bytes");
    const length = this.#length();
    const end = this.#position + length;
    if (end > this.#bytes.length) throw new DerError("a value is cut off");
    const content = this.#bytes.subarray(this.#position, end);
    this.#position = end;
    return { tag, content, whole: this.#bytes.subarray(start, end) };
  }

  /** The next value, which has to be of this tag. */
  expect(tag: number): DerValue {
    const value = this.next();
    if (value.tag !== tag) throw new DerError(`a value has tag ${value.tag} instead of ${tag}`);
    return value;
  }

  /** The next value if it has this tag. */
  take(tag: number): DerValue | undefined {
    return this.nextTag === tag ? this.next() : undefined;
  }

  #byte(): number {
    const byte = this.#bytes[this.#position];
    if (byte === undefined) throw new DerError("it ends early");
    this.#position += 1;
    return byte;
  }

  #length(): number {
    const first = this.#byte();
    if (first < 0x80) return first;
    const count = first & 0x7f;
    if (count === 0 || count > 4) throw new DerError("a length has an unknown form");
    let length = 0;
    for (let at = 0; at < count; at += 1) length = length * 256 + this.#byte();
    if (length < 0x80 || length < 256 ** (count - 1)) throw new DerError("a length is longer than it has to be");
    return length;
  }
}

export interface DerValue {
  readonly tag: number;
  readonly content: Buffer;
  /** With its tag and length. */
  readonly whole: Buffer;
}

export class DerError extends Error {}

export const derTags = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectIdentifier: 0x06,
  utf8String: 0x0c,
  printableString: 0x13,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;
