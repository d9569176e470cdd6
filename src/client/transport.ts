/**
 * What the client needs of the way to a node: calls of methods by name, messages as bytes. Handed in, so that tests run the
 * client against a node that breaks off when they say so. Whatever goes wrong is thrown as a `ProglogError`: the node's own, or
 * UNAVAILABLE where there is no connection or it broke.
 */
export interface Transport {
  /** `host:port`, for errors. */
  readonly address: string;
  call(method: string, request: Buffer, options?: CallOptions): Promise<Buffer>;
  /** Answers as they come. Ends the call when the iteration is left. */
  openServerStream(method: string, request: Buffer, options?: CallOptions): AsyncIterable<Buffer>;
  openStream(method: string, listener: StreamListener): RequestStream;
  /** Breaks off what is under way. Twice is fine. */
  close(): Promise<void>;
}

export interface CallOptions {
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The sending side of a stream of requests. */
export interface RequestStream {
  /** In order, whole or in parts, which must not be changed any more. What the connection doesn't take yet waits: bound what you have under way. */
  send(request: Buffer | readonly Buffer[]): void;
  /** No further request; answers still come. */
  end(): void;
  /** Breaks it off. */
  cancel(): void;
}

export interface StreamListener {
  readonly answered: (answer: Buffer) => void;
  /** Once, at the end: with undefined when the node ended it and all is well. Nothing is called after it. */
  readonly ended: (error: unknown) => void;
}
