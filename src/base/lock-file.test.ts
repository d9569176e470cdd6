import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { lockFile } from "./lock-file.ts";

describe("lock file", () => {
  let root: string;
  let path: string;
  beforeEach(() => {
    root = fs.mkdtempSync(join(tmpdir(), "proglog-lock-"));
    path = join(root, "lock");
  });
  afterEach(() => {
    fs.rmSync(root, { recursive: true, force: true });
  });

  /** Takes the lock in a process of its own, says so or what was thrown, and holds it until it is killed. */
  const holder = `
  const { lockFile } = await import(process.argv[1]);
  try {
    globalThis.lock = lockFile(process.argv[2]);
    console.log("locked");
  } catch (error) {
    console.log(error.code + " " + error.details.pid + " " + error.message);
    process.exit();
  }
  setInterval(() => {}, 1000);
`;
  const holderArguments = (): string[] => ["--input-type=module", "-e", holder, import.meta.resolve("./lock-file.ts"), path];

  async function startHolder(): Promise<ChildProcess> {
    const child = spawn(process.execPath, holderArguments(), { stdio: ["ignore", "pipe", "inherit"] });
    assert.ok(child.stdout);
    const [output] = (await once(child.stdout, "data")) as [Buffer];
    assert.equal(output.toString(), "locked\n");
    return child;
  }

  async function kill(child: ChildProcess): Promise<void> {
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  }

  test("another process is refused, with our pid", () => {
    const lock = lockFile(path);
    const child = spawnSync(process.execPath, holderArguments(), { encoding: "utf8" });
    assert.equal(child.stdout, `LOG_LOCKED ${process.pid} Cannot open ${root}: process ${process.pid} has it open\n`);
    assert.equal(child.stderr, "");
    lock.release();
  });

  test("a lock held by another process is refused, with its pid, and free as soon as that process is killed", async () => {
    const child = await startHolder();
    try {
      assert.throws(() => lockFile(path), {
        code: "LOG_LOCKED",
        message: `Cannot open ${root}: process ${child.pid} has it open`,
        details: { directory: root, pid: child.pid },
      });
    } finally {
      await kill(child);
    }
    assert.equal(fs.readFileSync(`${path}.pid`, "utf8"), `${child.pid}\n`);
    const lock = lockFile(path);
    assert.equal(fs.readFileSync(`${path}.pid`, "utf8"), `${process.pid}\n`);
    lock.release();
  });

  test("a refused second lock in the same process leaves the first one in force", () => {
    const lock = lockFile(path);
    assert.throws(() => lockFile(path), { code: "LOG_LOCKED" });
    const child = spawnSync(process.execPath, holderArguments(), { encoding: "utf8" });
    assert.match(child.stdout, /^LOG_LOCKED/);
    lock.release();
  });

  test("a pid file left behind, or gone, or garbled, changes nothing about who may lock", () => {
    fs.writeFileSync(`${path}.pid`, "1\n");
    const lock = lockFile(path);
    for (const content of ["", "nonsense", "12", undefined]) {
      if (content === undefined) fs.rmSync(`${path}.pid`);
      else fs.writeFileSync(`${path}.pid`, content);
      assert.throws(() => lockFile(path), {
        code: "LOG_LOCKED",
        message: `Cannot open ${root}: another process has it open`,
        details: { directory: root, pid: null },
      });
    }
    lock.release();
  });

  test("the lock is an empty file with the pid beside it, and only the empty file stays", () => {
    const lock = lockFile(path);
    assert.deepEqual(fs.readdirSync(root).sort(), ["lock", "lock.pid"]);
    assert.equal(fs.statSync(path).size, 0);
    lock.release();
    assert.deepEqual(fs.readdirSync(root), ["lock"]);
  });

  test("a lock file that isn't one is told from a held one", () => {
    fs.writeFileSync(path, "no lock file at all ".repeat(100));
    assert.throws(() => lockFile(path), { code: "DISK_FAILED", message: /^Cannot lock .*: file is not a database/ });
    fs.rmSync(path);
    fs.mkdirSync(path);
    assert.throws(() => lockFile(path), { code: "DISK_FAILED" });
  });

  test("a lock is not let go of when its holder is collected as garbage", () => {
    // In a process of its own, for the flag.
    const script = `
    const { lockFile } = await import(process.argv[1]);
    lockFile(process.argv[2]);
    await new Promise((resolve) => setImmediate(resolve));
    for (let round = 0; round < 5; round += 1) { gc(); await new Promise((resolve) => setImmediate(resolve)); }
    try { lockFile(process.argv[2]); console.log("free"); } catch (error) { console.log(error.code); }
  `;
    const child = spawnSync(
      process.execPath,
      ["--expose-gc", "--input-type=module", "-e", script, import.meta.resolve("./lock-file.ts"), path],
      { encoding: "utf8" },
    );
    assert.equal(child.stdout, "LOG_LOCKED\n", child.stderr);
  });
});
