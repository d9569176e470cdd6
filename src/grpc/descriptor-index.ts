import { findField, type ProtobufField, readFields, textOf } from "./protobuf-fields.ts";

/**
 * What stands in which file of a `google.protobuf.FileDescriptorSet`: the files by name, and by the full names of what they define.
 * The files themselves go out as the bytes they came as.
 */
export class DescriptorIndex {
  readonly #files = new Map<string, DescriptorFile>();
  readonly #symbols = new Map<string, DescriptorFile>();
  readonly #extensions = new Map<string, Map<number, DescriptorFile>>();
  readonly #services: string[] = [];

  /** Throws INVALID_ARGUMENT for bytes that are no set. */
  constructor(descriptorSet: Buffer) {
    for (const { number, bytes } of readFields(descriptorSet)) if (number === 1) this.#addFile(bytes);
  }

  /** The full names of all services. */
  get services(): readonly string[] {
    return this.#services;
  }

  findByName(name: string): DescriptorFile | undefined {
    return this.#files.get(name);
  }

  /** By the full name of a message, an enum or one of its values, a service, a method or an extension. */
  findBySymbol(symbol: string): DescriptorFile | undefined {
    return this.#symbols.get(symbol);
  }

  findByExtension(type: string, number: number): DescriptorFile | undefined {
    return this.#extensions.get(type)?.get(number);
  }

  /** The numbers that extend a type; undefined for one that isn't there. */
  extensionNumbers(type: string): number[] | undefined {
    const found = this.#extensions.get(type);
    if (found !== undefined) return [...found.keys()].sort((a, b) => a - b);
    return this.#symbols.has(type) ? [] : undefined;
  }

  /** A file and all that it needs, what is needed first. */
  withDependencies(file: DescriptorFile): DescriptorFile[] {
    const found = new Set<DescriptorFile>();
    const visiting = new Set<DescriptorFile>();
    const visit = (one: DescriptorFile): void => {
      if (found.has(one) || visiting.has(one)) return;
      visiting.add(one);
      for (const name of one.dependencies) {
        const dependency = this.#files.get(name);
        if (dependency !== undefined) visit(dependency);
      }
      found.add(one);
    };
    visit(file);
    return [...found];
  }

  #addFile(bytes: Buffer): void {
    const fields = readFields(bytes);
    const file: DescriptorFile = {
      name: textOf(fields, 1),
      bytes,
      dependencies: fields.filter(({ number }) => number === 3).map((field) => field.bytes.toString("utf8")),
    };
    this.#files.set(file.name, file);
    const scope = textOf(fields, 2);
    for (const field of fields)
      if (field.number === 4) this.#addMessage(field, scope, file);
      else if (field.number === 5) this.#addEnum(field, scope, file);
      else if (field.number === 6) this.#addService(field, scope, file);
      else if (field.number === 7) this.#addExtension(field, scope, file);
  }

  #addMessage({ bytes }: ProtobufField, scope: string, file: DescriptorFile): void {
    const fields = readFields(bytes);
    const name = this.#addSymbol(fields, scope, file);
    for (const field of fields)
      if (field.number === 3) this.#addMessage(field, name, file);
      else if (field.number === 4) this.#addEnum(field, name, file);
      else if (field.number === 6) this.#addExtension(field, name, file);
  }

  #addEnum({ bytes }: ProtobufField, scope: string, file: DescriptorFile): void {
    const fields = readFields(bytes);
    this.#addSymbol(fields, scope, file);
    // A value's name stands beside its enum's, not below it.
    for (const field of fields) if (field.number === 2) this.#addSymbol(readFields(field.bytes), scope, file);
  }

  #addService({ bytes }: ProtobufField, scope: string, file: DescriptorFile): void {
    const fields = readFields(bytes);
    const name = this.#addSymbol(fields, scope, file);
    this.#services.push(name);
    for (const field of fields) if (field.number === 2) this.#addSymbol(readFields(field.bytes), name, file);
  }

  #addExtension({ bytes }: ProtobufField, scope: string, file: DescriptorFile): void {
    const fields = readFields(bytes);
    this.#addSymbol(fields, scope, file);
    // Full names in descriptors begin with a dot.
    const type = textOf(fields, 2).replace(/^\./, "");
    const numbers = this.#extensions.get(type) ?? new Map<number, DescriptorFile>();
    this.#extensions.set(type, numbers.set(findField(fields, 3)?.integer ?? 0, file));
  }

  #addSymbol(fields: readonly ProtobufField[], scope: string, file: DescriptorFile): string {
    const name = scope === "" ? textOf(fields, 1) : `${scope}.${textOf(fields, 1)}`;
    this.#symbols.set(name, file);
    return name;
  }
}

export interface DescriptorFile {
  readonly name: string;
  /** A `google.protobuf.FileDescriptorProto`. */
  readonly bytes: Buffer;
  readonly dependencies: readonly string[];
}
