import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { repository } from "./source-code.ts";
import { startTestNode } from "./test-node.ts";

/** A program that uses the client, as a process: what keeps one alive, only a process shows. */
class Program implements AsyncDisposable {
  readonly #child;
  #stdout = "";
  #changed = Promise.withResolvers<void>();
  readonly exit: Promise<number | null>;

  constructor(body: string) {
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const client = pathToFileURL(join(repository, "src/client/index.ts")).href;
    const program = `import { connect } from ${JSON.stringify(client)};\n${body}`;
    this.#child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
      env,
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#child.stdout.on("data", (piece: Buffer) => {
      this.#stdout += piece.toString();
      this.#changed.resolve();
      this.#changed = Promise.withResolvers();
    });
    this.exit = once(this.#child, "close").then(([code]) => {
      this.#changed.resolve();
      return code as number | null;
    });
  }

  async waitFor(text: string): Promise<void> {
    while (!this.#stdout.includes(text)) {
      assert.equal(this.#child.exitCode, null, `it ended before it said ${text}: ${this.#stdout}`);
      await this.#changed.promise;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.exit;
  }
}

test("a program that closes its client ends, and one that has said nothing ends by itself", async () => {
  await using node = await startTestNode();
  const address = `"127.0.0.1:${node.port}"`;
  for (const body of [
    `const client = connect(${address}); await client.close();`,
    `const client = connect(${address}); client.producer();`,
    `const client = connect(${address}); const producer = client.producer(); await producer.send({ value: "a" });
     for await (const _ of client.consume({ stopsAtEnd: true })); await client.close();`,
  ]) {
    await using program = new Program(body);
    assert.equal(await program.exit, 0);
  }
});

test("a program waits for its record though no node is there, and ends when it is appended", async () => {
  // A port that nobody listens to: it was free a moment ago.
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address() as AddressInfo;
  listener.close();
  await once(listener, "close");
  await using program = new Program(`
    const client = connect("127.0.0.1:${port}");
    let retries = 0;
    const producer = client.producer({ onRetry: () => { retries += 1; if (retries === 3) console.log("retries"); } });
    const { offset } = await producer.send({ value: "a" });
    for await (const record of client.consume({ stopsAtEnd: true })) console.log(\`read \${record.value}\`);
    await client.close();
    console.log(\`appended at \${offset}\`);
  `);
  await program.waitFor("retries");
  await using _node = await startTestNode({ flags: { "rpc-port": port } });
  await program.waitFor("read a");
  await program.waitFor("appended at 0");
  assert.equal(await program.exit, 0);
});
