/** Memory that one piece of a store after the other is read into: what is handed out is the last piece's no more. */
export class PieceMemory {
  #bytes: Buffer | undefined;

  take(byteLength: number): Buffer {
    if (this.#bytes === undefined || this.#bytes.length < byteLength) this.#bytes = Buffer.allocUnsafeSlow(byteLength);
    return this.#bytes.subarray(0, byteLength);
  }
}
