import { type ErrorCode, isProglogError, ProglogError } from "../base/error.ts";
import type { Client } from "../client/index.ts";

/** The server that a command talks to. Who asks for it closes it. */
export interface ServerConnection {
  readonly client: Client;
  /** Where it sends to, for messages: "127.0.0.1:8000". */
  readonly address: string;
}

export interface Attempt {
  /** For errors: "list the topics". */
  readonly attempt: string;
  /** Changes nothing, so that there is no outcome to be in doubt of. */
  readonly isRead?: boolean;
}

/** What a command shows of an error of the client: with what it was about when the server wasn't reached, or was lost. */
export function serverError(error: unknown, { attempt, isRead = false }: Attempt): unknown {
  if (!isProglogError(error)) return error;
  const { reason, serverCode, outcome, tls, ...details } = error.details;
  const isLost = (error.code === "UNAVAILABLE" || tls !== undefined) && typeof reason === "string";
  // Who isn't trusted, or doesn't trust, is there.
  const isAbsent = isLost && outcome === "not-appended" && tls === undefined;
  const hint = isAbsent ? "Start one with proglog serve, or name it with --server." : error.hint;
  // A later server may know codes that we don't: they are shown as they are.
  const code = typeof serverCode === "string" ? (serverCode as ErrorCode) : error.code;
  return new ProglogError(code, isLost ? `Cannot ${attempt}: ${reason}` : error.message, {
    ...(hint === undefined ? {} : { hint }),
    details: { ...details, ...(isRead || outcome === undefined ? {} : { outcome }) },
    cause: error.cause,
  });
}

/** Runs what asks the server one thing, and closes the connection. */
export async function askServer<Result>(
  connection: ServerConnection,
  attempt: Attempt,
  run: (client: Client) => Promise<Result>,
): Promise<Result> {
  try {
    return await run(connection.client);
  } catch (error) {
    throw serverError(error, attempt);
  } finally {
    await connection.client.close();
  }
}
