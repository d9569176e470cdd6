import { batchMaxHeaders } from "../base/limits.ts";
import type { Refuse } from "./refusal.ts";
import { VarintReader } from "./varint.ts";

/** Fewer bytes can't hold a record: each of its seven fields takes at least one. */
export const recordMinBytes = 7;

/**
 * Goes through the records of a batch, uncompressed or inflated, and remembers where the parts of the current one stand instead
 * of making objects: the check of a batch needs none, and decoding makes just those that it gives out.
 *
 * For each record: `readRecord`, then `readHeader` exactly `headerCount` times, then `endRecord`; after the last, `endRecords`.
 * Lengths are proven here. What the numbers mean is judged by the caller.
 */
export class RecordReader {
  /** Of the current record, from 0. */
  number = -1;
  /** Where the current record's bytes begin, its length field included, and end. */
  recordStart = 0;
  recordEnd = 0;
  attributes = 0;
  timestampDelta = 0;
  offsetDelta = 0;
  keyStart = 0;
  /** -1 for null. */
  keyBytes = -1;
  valueStart = 0;
  /** -1 for null. */
  valueBytes = -1;
  headerCount = 0;
  /** Of the current header. */
  headerKeyStart = 0;
  headerKeyBytes = 0;
  headerValueStart = 0;
  /** -1 for null. */
  headerValueBytes = -1;

  readonly #varints: VarintReader;
  readonly #end: number;
  /** Of all records so far, the current one included. */
  #headerTotal = 0;

  /** Reads records from `bytes[start, end)`. `refuse` makes the errors; reasons name record and field. */
  constructor(bytes: Buffer, start: number, end: number, refuse: Refuse) {
    this.#end = end;
    this.#varints = new VarintReader(bytes, start, end, (reason, options) =>
      refuse(`record ${this.number}: ${reason}`, options),
    );
  }

  readRecord(): void {
    const varints = this.#varints;
    this.number += 1;
    this.recordStart = varints.position;
    const recordBytes = varints.readVarint("length");
    if (recordBytes < 0 || recordBytes > this.#end - varints.position) {
      throw varints.refuse(`length is ${recordBytes}, and ${this.#end - varints.position} bytes are left`);
    }
    varints.end = varints.position + recordBytes;
    this.recordEnd = varints.end;
    this.attributes = varints.readByte("attributes");
    this.timestampDelta = varints.readVarlong("timestampDelta");
    this.offsetDelta = varints.readVarint("offsetDelta");
    this.keyBytes = this.#readLength("keyLength");
    this.keyStart = varints.position;
    if (this.keyBytes > 0) varints.position += this.keyBytes;
    this.valueBytes = this.#readLength("valueLength");
    this.valueStart = varints.position;
    if (this.valueBytes > 0) varints.position += this.valueBytes;
    this.headerCount = varints.readVarint("headerCount");
    // A header takes two bytes at least, so a count that passes can't make anyone loop beyond the bytes there are.
    if (this.headerCount < 0 || this.headerCount > (varints.end - varints.position) / 2) {
      throw varints.refuse(`headerCount is ${this.headerCount}, and ${varints.end - varints.position} bytes are left`);
    }
    this.#headerTotal += this.headerCount;
    if (this.#headerTotal > batchMaxHeaders) {
      throw varints.refuse(`the batch has ${this.#headerTotal} headers up to here, and ${batchMaxHeaders} are allowed`);
    }
  }

  readHeader(): void {
    const varints = this.#varints;
    this.headerKeyBytes = this.#readLength("header's keyLength");
    if (this.headerKeyBytes < 0) throw varints.refuse("a header's keyLength is -1, and only values may be null");
    this.headerKeyStart = varints.position;
    varints.position += this.headerKeyBytes;
    this.headerValueBytes = this.#readLength("header's valueLength");
    this.headerValueStart = varints.position;
    if (this.headerValueBytes > 0) varints.position += this.headerValueBytes;
  }

  endRecord(): void {
    const varints = this.#varints;
    if (varints.position !== varints.end) {
      throw varints.refuse(`its fields end ${varints.end - varints.position} bytes before its length does`);
    }
    varints.end = this.#end;
  }

  endRecords(refuse: Refuse): void {
    const leftBytes = this.#end - this.#varints.position;
    if (leftBytes !== 0) throw refuse(`${leftBytes} bytes are left behind the last of ${this.number + 1} records`);
  }

  #readLength(field: string): number {
    const varints = this.#varints;
    const length = varints.readVarint(field);
    if (length < -1 || length > varints.end - varints.position) {
      throw varints.refuse(`${field} is ${length}, and ${varints.end - varints.position} bytes are left in it`);
    }
    return length;
  }
}
