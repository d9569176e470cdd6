import { ChildCommand } from "../command-process.ts";
import { waitUntil } from "../wait-until.ts";
import { runTool } from "./tool.ts";

/**
 * From now until it is disposed of every sync of a process comes to nothing: it fails with EIO, or says that it was done. By strace, which
 * stands between the process and the kernel.
 */
export class FalseSyncs implements AsyncDisposable {
  readonly #tracer: ChildCommand;

  private constructor(tracer: ChildCommand) {
    this.#tracer = tracer;
  }

  static async begin(pid: number, what: "fail" | "lie"): Promise<FalseSyncs> {
    const result = what === "fail" ? "error=EIO" : "retval=0";
    const calls = "fsync,fdatasync";
    const tracer = new ChildCommand("strace", [
      "-f",
      "-p",
      String(pid),
      "-e",
      `trace=${calls}`,
      "-e",
      `inject=${calls}:${result}`,
    ]);
    const syncs = new FalseSyncs(tracer);
    try {
      await tracer.waitFor("stderr", /attached/);
      return syncs;
    } catch (error) {
      await syncs[Symbol.asyncDispose]();
      throw error;
    }
  }

  async untilSome(): Promise<void> {
    await waitUntil("a sync was injected", () => this.#tracer.stderr.includes("(INJECTED)"));
  }

  /** It lets go of the process, which goes on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#tracer.child.kill("SIGINT");
    await this.#tracer.exit();
  }
}

/** Throws where calls can't be traced. */
export function checkTracing(): void {
  runTool("strace", "-qq", "-o", "/dev/null", "-e", "inject=fdatasync:retval=0", "true");
}
