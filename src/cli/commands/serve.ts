import { resolve } from "node:path";
import { setFlagsFromString } from "node:v8";
import type { Command } from "commander";
import type { Node } from "../../server/index.ts";
import type { CommandContext } from "../command-context.ts";
import type { CommandIo } from "../command-io.ts";
import { addConfigOptions } from "../config-options.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { OutputClosedError } from "../output.ts";
import { listenForStop } from "../stop-signal.ts";

/** The flags come from the server's own schema, which is loaded, with the server, only when `argv` asks for this command. */
export async function addServeCommand(program: Command, context: CommandContext, argv: readonly string[]): Promise<void> {
  const command = program
    .command("serve")
    .summary("start a node")
    .description(
      "Starts a node, in the foreground. Ctrl-C or SIGTERM stops it in good order, a second one at once.\n" +
        "Flags go before the environment, and that before --config-file. Sizes take units (64MiB), durations too (30s, 7d).",
    )
    .addHelpText(
      "after",
      `
Examples:
  $ proglog serve
  $ proglog serve --data-dir /var/lib/proglog --rpc-port 8000 --retention-max-age-ms 30d
  $ PROGLOG_DATA_DIR=/var/lib/proglog proglog serve
`,
    )
    .action(context.action((flags: Readonly<Record<string, unknown>>) => serve(context, flags)));
  if (!argv.includes("serve")) return;
  await addConfigOptions(command);
}

async function serve(context: CommandContext, flags: Readonly<Record<string, unknown>>): Promise<ExitCode> {
  const { io, stdout, stderr, version } = context;
  const { loadConfig, startNode } = await import("../../server/index.ts");
  const config = loadConfig({ flags, env: io.env });
  setFlagsFromString(heapGrowth);
  using stop = listenForStop(io);
  await using node = await startNode(config, { version, signal: stop.signal });
  using _ = listenForReload(io, node);
  try {
    await stdout.write(describeStart(node.url, { version, dataDir: resolve(config.dataDir) }));
  } catch (error) {
    // Nobody reads it. The node serves all the same.
    if (!(error instanceof OutputClosedError)) throw error;
  }
  const ended = AbortSignal.any([stop.signal, node.stopped]);
  if (!ended.aborted) await new Promise((done) => ended.addEventListener("abort", done, { once: true }));
  // A supervisor is to see that it doesn't serve, and starts it again in vain: then it says so once more.
  if (!stop.signal.aborted) throw node.stopped.reason;
  if (io.stderr.isTTY === true) await stderr.write("\nstopping; once more stops at once\n");
  return exitCodes.done;
}

/** SIGHUP, where there are certificates to be read anew. Else it does what it does by itself, which is to end the process. */
function listenForReload(io: CommandIo, node: Node): Disposable {
  const remove = node.hasCertificates ? io.onReloadSignal(() => node.reloadCertificates()) : () => {};
  return { [Symbol.dispose]: remove };
}

/**
 * Messages that come in are memory outside of V8's heap, which only a collection gives back. By its own rule V8 collects once
 * all has grown by some half, and with the little heap that a node has that is every five megabytes received: it then spends
 * half of its time on that. Five times as much may gather instead.
 */
const heapGrowth = "--heap-growing-percent=400";

function describeStart(url: string, { version, dataDir }: { readonly version: string; readonly dataDir: string }): string {
  const records = `${url}/v1/topics/default/records`;
  return `proglog ${version} serves ${url}, its data in ${dataDir}
Try:
  curl -H 'content-type: application/json' -d '{"value":"hello, world"}' ${records}
  curl ${records}
`;
}
