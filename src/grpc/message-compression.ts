import { promisify } from "node:util";
import { gunzip, gunzipSync, gzipSync } from "node:zlib";
import { grpcInflateAtOnceMaxBytes } from "../base/limits.ts";
import { messageOf } from "../base/error.ts";
import { GrpcStatusError } from "./grpc-status-error.ts";

/** What a message may be compressed by. `identity` is none. */
export type MessageEncoding = "identity" | "gzip";

/** As the two ends tell each other. */
export const acceptedEncodings = "identity,gzip";

/**
 * Never makes more than `maxBytes` of a message, however small it came. Little is inflated at once; what turns out to be more goes
 * to the thread pool, where a bomb costs a thread for a moment and the loop nothing.
 */
export function inflateMessage(message: Buffer, maxBytes: number): Buffer | Promise<Buffer> {
  const atOnceMaxBytes = Math.min(maxBytes, grpcInflateAtOnceMaxBytes);
  try {
    return gunzipSync(message, { maxOutputLength: atOnceMaxBytes });
  } catch (error) {
    if (!isTooLarge(error) || atOnceMaxBytes === maxBytes) throw inflateError(error, maxBytes);
    return inflate(message, maxBytes);
  }
}

/** The cheapest level: the other end of this is mostly the same machine or the same rack. */
export function deflateMessage(message: Uint8Array): Buffer {
  return gzipSync(message, { level: 1 });
}

const gunzipAsync = promisify(gunzip) as (message: Buffer, options: { maxOutputLength: number }) => Promise<Buffer>;

async function inflate(message: Buffer, maxBytes: number): Promise<Buffer> {
  try {
    return await gunzipAsync(message, { maxOutputLength: maxBytes });
  } catch (error) {
    throw inflateError(error, maxBytes);
  }
}

function isTooLarge(error: unknown): boolean {
  return (error as { code?: unknown }).code === "ERR_BUFFER_TOO_LARGE";
}

function inflateError(error: unknown, maxBytes: number): GrpcStatusError {
  if (isTooLarge(error))
    return new GrpcStatusError("RESOURCE_EXHAUSTED", `Cannot inflate a message: it is of more than ${maxBytes} bytes`);
  return new GrpcStatusError("INTERNAL", `Cannot inflate a message: ${messageOf(error)}`, { cause: error });
}
