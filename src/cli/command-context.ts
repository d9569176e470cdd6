import type { CommandIo } from "./command-io.ts";
import type { ExitCode } from "./exit-codes.ts";
import type { Output } from "./output.ts";
import type { ServerConnection } from "./server-connection.ts";
import type { ServerChoice } from "./server-tls.ts";

/** What every command is given. */
export interface CommandContext {
  readonly io: CommandIo;
  readonly stdout: Output;
  readonly stderr: Output;
  /** Of the package: "0.1.0". */
  readonly version: string;
  /** Makes an action for commander of one that returns the exit code. */
  action<Parameters extends readonly unknown[]>(
    run: (...parameters: Parameters) => Promise<ExitCode>,
  ): (...parameters: Parameters) => Promise<void>;
  /** What the command shows to say who it is, or undefined. Throws INVALID_CONFIG. */
  readonly findToken: () => string | undefined;
  /** Where the server is, and how it is spoken with: what `--server` and `--tls-…` say, else the environment, else the default. */
  chooseServer(server: string | undefined): ServerChoice;
  /** To the server that `--server` names, else the environment, else the default. Who asks for it closes it. */
  connect(server: string | undefined): Promise<ServerConnection>;
}
