import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { systemError } from "../../base/disk-error.ts";
import { ProglogError } from "../../base/error.ts";
import type { Disk } from "../../base/disk.ts";
import { createMemoryDisk } from "../../base/memory-disk.ts";
import { dayMs, GiB, MiB } from "../../base/units.ts";
import { reportConfig } from "../config-report.ts";
import { checkCertificates } from "./check-certificates.ts";
import { examine } from "./doctor.ts";
import type { DoctorSystem } from "./doctor-system.ts";
import type { DoctorArea, Finding } from "./finding.ts";

const noon = Date.parse("2027-03-01T12:00:00Z");

/** A machine that nothing is wrong with, but for what `sick` says. */
function machine(sick: Partial<DoctorSystem> = {}): DoctorSystem {
  return {
    disk: diskWith({ openFilesMaxCount: 65_536 }),
    clock: clockAt(noon),
    nodeVersion: "26.1.0",
    platform: "linux",
    availableMemoryBytes: 8 * GiB,
    heapLimitBytes: 4 * GiB,
    isMmapLoaded: true,
    isCrc32cNative: true,
    describeFileSystem: () => roomy,
    describeFile: () => undefined,
    tryListen: async () => {},
    lookup: async () => ["10.0.0.1"],
    askLivez: async () => ({ status: 200, date: noon }),
    pushNothing: async () => {},
    ...sick,
  };
}

const roomy = { directory: "/", kind: "ext4", totalBytes: 100 * GiB, freeBytes: 50 * GiB, totalFiles: 1e6, freeFiles: 1e6 };

function clockAt(now: number, syncMs = 1): DoctorSystem["clock"] {
  let monotonic = 0;
  return {
    now: () => now,
    monotonic: () => (monotonic += syncMs),
    setTimer: () => ({ cancel: () => {} }),
    turn: async () => {},
  };
}

/** A disk in memory, but for what `other` does in its place. */
function diskWith(other: Partial<Disk>): Disk {
  const disk = createMemoryDisk();
  return new Proxy(disk, {
    get(target, name: keyof Disk) {
      const found: unknown = name in other ? other[name] : target[name];
      return typeof found === "function" ? found.bind(target) : found;
    },
  });
}

async function look(flags: Readonly<Record<string, unknown>>, system: DoctorSystem = machine()): Promise<readonly Finding[]> {
  return examine(reportConfig({ flags: { "data-dir": "/data", ...flags } }), system);
}

/** What isn't well, in short. */
function troubles(findings: readonly Finding[]): readonly string[] {
  return findings.flatMap((one) => (one.level === "ok" ? [] : [`${one.level} ${one.area}: ${one.finding}`]));
}

function textOf(findings: readonly Finding[], area: DoctorArea): string {
  return findings
    .filter((one) => one.area === area)
    .map(({ finding }) => finding)
    .join("\n");
}

test("a machine that nothing is wrong with has nothing but good findings, in the order of areas, and nothing is left on the disk", async () => {
  const system = machine();
  const findings = await look({ "start-join-addrs": "a.example:8000", "advertise-addr": "127.0.0.1:8000" }, system);
  assert.deepEqual(troubles(findings), []);
  assert.deepEqual(
    [...new Set(findings.map(({ area }) => area))],
    ["configuration", "runtime", "disk", "descriptors", "memory", "clock", "network", "certificates", "packages"],
  );
  assert.match(textOf(findings, "disk"), /a sync of 4KiB takes 1\.00 ms, at most 1\.00 ms of 20/);
  assert.deepEqual(system.disk.list("/"), []);
});

test("a configuration that is wrong is told with its hint, and what doesn't depend on it is looked at all the same", async () => {
  const findings = await look({ "rcp-port": "1" }, machine({ nodeVersion: "22.4.0" }));
  assert.deepEqual(troubles(findings), [
    "problem configuration: Cannot use --rcp-port: there is no such key",
    "problem runtime: Node 22.4.0 is too old",
  ]);
  assert.ok(findings.some((one) => one.level !== "ok" && one.advice === "Did you mean --rpc-port?"));
});

test("little memory, few descriptors, another system and missing packages are told", async () => {
  const sick = { availableMemoryBytes: 300 * MiB, isCrc32cNative: false, isMmapLoaded: false };
  assert.deepEqual(troubles(await look({ index: "mmap" }, machine({ ...sick, disk: diskWith({ openFilesMaxCount: 1024 }) }))), [
    "warning descriptors: 1,024 files may be open: enough for 42 partitions beside 512 connections",
    "warning memory: 300 MiB of memory are free, and 4,096 MiB of it may be the heap",
    "warning packages: @node-rs/crc32 isn't there for this platform: checksums are computed in TypeScript, several times slower",
    "problem packages: --index mmap needs koffi, which isn't there",
  ]);
  assert.deepEqual(
    troubles(await look({ "max-connections": "1000" }, machine({ disk: diskWith({ openFilesMaxCount: 1024 }) }))),
    ["problem descriptors: 1,024 files may be open: enough for 0 partitions beside 1,000 connections"],
  );
  assert.deepEqual(
    troubles(await look({}, machine({ platform: "darwin", disk: diskWith({ openFilesMaxCount: undefined }) }))),
    ["warning runtime: Node 26.1.0 on darwin"],
  );
});

describe("the disk", () => {
  for (const [kind, expected] of [
    ["tmpfs", "problem disk: / is on tmpfs, which is memory: nothing outlives a restart"],
    ["nfs", "problem disk: / is on nfs, which locks and syncs by rules of its own"],
    ["overlayfs", "warning disk: / is on overlayfs, a container's own layer, and goes with the container"],
    [undefined, "warning disk: / is on a file system that isn't known here"],
  ] as const)
    test(`on ${kind ?? "something unknown"} is told of`, async () => {
      assert.deepEqual(troubles(await look({}, machine({ describeFileSystem: () => ({ ...roomy, kind }) }))), [expected]);
    });

  test("with little room is a warning, and with less than a segment a problem", async () => {
    const withRoom = (freeBytes: number, freeFiles = 1e6) =>
      look({}, machine({ describeFileSystem: () => ({ ...roomy, freeBytes, freeFiles }) }));
    assert.deepEqual(troubles(await withRoom(10 * GiB)), []);
    assert.deepEqual(troubles(await withRoom(10 * GiB - 1)), [
      "warning disk: 10.0 GiB of 100.0 GiB are free at /, less than a tenth",
    ]);
    assert.deepEqual(troubles(await withRoom(256 * MiB - 1)), [
      "problem disk: 256 MiB of 100.0 GiB are free at /, less than a segment (--segment-max-bytes 256MiB)",
    ]);
    assert.deepEqual(troubles(await withRoom(50 * GiB, 9_999)), ["warning disk: only 9,999 more files can be made at /"]);
  });

  test("that is slow, or can't be written to, is told of", async () => {
    assert.match(
      troubles(await look({}, machine({ clock: clockAt(noon, 51) }))).join(),
      /^warning disk: a sync of 4KiB takes 51\.00 ms/,
    );
    const readOnly = diskWith({
      openFilesMaxCount: 65_536,
      open: (path) => {
        throw systemError("EROFS", "open", path);
      },
    });
    const [trouble, ...others] = await look({}, machine({ disk: readOnly })).then((all) =>
      all.filter(({ level }) => level !== "ok"),
    );
    assert.deepEqual(others, []);
    assert.match(trouble?.finding ?? "", /^\/ can't be written to: EROFS/);
  });

  test("that can't even be looked at is a problem", async () => {
    const describeFileSystem = () => {
      throw systemError("EACCES", "stat", "/data");
    };
    assert.match(
      troubles(await look({}, machine({ describeFileSystem }))).join(),
      /^problem disk: \/data can't be looked at: EACCES/,
    );
  });
});

describe("a clock", () => {
  test("that was never set, or has gone back, is told of", async () => {
    assert.match(
      troubles(await look({}, machine({ clock: clockAt(0) }))).join(),
      /^problem clock: the clock says 1970-01-01T00:00:00\.000Z, which can't be/,
    );
    const written = (aheadMs: number) =>
      look(
        {},
        machine({
          describeFile: (path) => (path === "/data/manifest" ? { writtenAt: noon + aheadMs, mode: 0o640 } : undefined),
        }),
      );
    assert.deepEqual(troubles(await written(60_000)), []);
    assert.match(
      troubles(await written(60_001)).join(),
      /^warning clock: .+ \/data\/manifest was written at 2027-03-01T12:01:00\.001Z: it has gone back/,
    );
  });

  test("that differs from another node's is told of", async () => {
    const told = async (date: number | undefined) =>
      troubles(await look({ "start-join-addrs": "a.example" }, machine({ askLivez: async () => ({ status: 200, date }) })));
    assert.deepEqual(await told(undefined), []);
    assert.deepEqual(await told(noon + 5_000), []);
    assert.deepEqual(await told(noon - 6_000), []);
    assert.deepEqual(await told(noon + 90_000), ["warning clock: that of a.example:8000 is 90 s ahead"]);
    assert.deepEqual(await told(noon - 91_000), ["warning clock: that of a.example:8000 is 90 s behind"]);
  });
});

describe("the network", () => {
  const failing = (code: string) => async () => {
    throw systemError(code, "listen", "address");
  };
  const unanswered = async () => Promise.reject(systemError("ECONNREFUSED", "connect", "address"));

  test("refuses ports and addresses that aren't to be had", async () => {
    for (const [code, expected] of [
      ["EADDRINUSE", "problem network: another process listens at 127.0.0.1:8000"],
      ["EADDRNOTAVAIL", "problem network: 127.0.0.1 is no address of this machine"],
      ["EACCES", "problem network: port 8000 isn't this user's to take"],
    ] as const)
      assert.deepEqual(troubles(await look({}, machine({ tryListen: failing(code) }))), [expected]);
  });

  test("is in order where the node itself runs already, and says when it listens elsewhere", async () => {
    const disk = diskWith({ openFilesMaxCount: 65_536 });
    await disk.makeDirectory("/data");
    disk.open("/data/lock", "create").close();
    disk.lock("/data/lock");
    const running = await look({}, machine({ disk, tryListen: failing("EADDRINUSE") }));
    assert.deepEqual(troubles(running), []);
    assert.match(
      textOf(running, "network"),
      new RegExp(`127\\.0\\.0\\.1:8000 answers; process ${process.pid} has the data directory`),
    );
    assert.match(textOf(running, "disk"), new RegExp(`/data is open in process ${process.pid}`));
    const silent = machine({ disk, tryListen: failing("EADDRINUSE"), askLivez: unanswered });
    assert.deepEqual(troubles(await look({}, silent)), ["problem network: another process listens at 127.0.0.1:8000"]);
    assert.deepEqual(troubles(await look({}, machine({ disk }))), [
      `warning network: process ${process.pid} has the data directory, and nobody listens at 127.0.0.1:8000`,
    ]);
  });

  test("names the nodes that aren't there, behind each address of a name, and names that nobody knows", async () => {
    const lookup = async (host: string) => {
      if (host === "gone.example") throw systemError("ENOTFOUND", "getaddrinfo", host);
      return ["10.0.0.1", "10.0.0.2"];
    };
    const askLivez: DoctorSystem["askLivez"] = async ({ host }) =>
      host === "10.0.0.2" ? unanswered() : { status: 200, date: noon };
    // Nodes of several machines don't start without; what is in the files is another area's.
    const tls = Object.fromEntries(["cert", "key", "ca"].map((part) => [`peer-tls-${part}-file`, `/${part}.pem`]));
    const flags = { ...tls, "start-join-addrs": "all.example:9000,gone.example", "advertise-addr": "gone.example:8000" };
    const findings = await look(flags, machine({ lookup, askLivez }));
    assert.deepEqual(troubles(findings.filter(({ area }) => area === "network")), [
      "warning network: --advertise-addr: the name gone.example isn't known here",
      "warning network: --start-join-addrs: nobody answers at all.example:9000 (10.0.0.2)",
      "warning network: --start-join-addrs: gone.example:8000 isn't known here",
    ]);
  });

  test("says whether the collector takes what is pushed, and never its headers", async () => {
    const flags = { "otlp-endpoint": "http://c.example:4318", "otlp-headers": "x-key=hunter2" };
    assert.match(textOf(await look(flags), "network"), /the collector at http:\/\/c\.example:4318 takes what is pushed/);
    const pushNothing = () => Promise.reject(new ProglogError("UNAVAILABLE", "Cannot push to c.example:4318: it answers 401"));
    const findings = await look(flags, machine({ pushNothing }));
    assert.deepEqual(troubles(findings), ["warning network: --otlp-endpoint: Cannot push to c.example:4318: it answers 401"]);
    assert.ok(!JSON.stringify(findings).includes("hunter2"));
  });

  test("that is open to all is a warning", async () => {
    assert.deepEqual(troubles(await look({ "bind-addr": "0.0.0.0", insecure: true })), [
      "warning network: --insecure: who reaches 0.0.0.0 reads and writes everything, unless there is an access policy",
    ]);
  });
});

describe("certificates", () => {
  const keyPair = (): string =>
    generateKeyPairSync("ec", {
      namedCurve: "P-256",
      privateKeyEncoding: { type: "pkcs8", format: "pem" },
      publicKeyEncoding: { type: "spki", format: "pem" },
    }).privateKey;
  const made = makeCertificate();
  const skip = made === undefined && "there is no openssl to make a certificate with";
  const disk = createMemoryDisk();
  const entries = (cert: string, key: string) => [
    { key: { name: "rpc-port" }, value: 8000 },
    { key: { name: "server-tls-cert-file" }, value: cert },
    { key: { name: "server-tls-key-file" }, value: key },
    { key: { name: "server-tls-ca-file" }, value: null },
  ];
  const write = (path: string, text: string): void => {
    const file = disk.open(path, "create");
    file.writeSync([Buffer.from(text)], 0);
    file.close();
  };
  const check = (cert: string, key: string, now = Date.now(), mode = 0o600) =>
    troubles(
      checkCertificates(
        entries(cert, key),
        machine({ disk, clock: clockAt(now), describeFile: () => ({ writtenAt: 0, mode }) }),
      ),
    );

  before(() => {
    write("/other.key", keyPair());
    write("/empty", "");
    if (made === undefined) return;
    write("/cert", made.cert);
    write("/key", made.key);
  });

  test("that last, with their own key, are in order; those that end are told of in time", { skip }, () => {
    const until = Date.parse(new X509Certificate(made?.cert ?? "").validTo);
    assert.deepEqual(check("/cert", "/key"), []);
    assert.deepEqual(check("/cert", "/key", until - 14 * dayMs), []);
    assert.deepEqual(check("/cert", "/key", until - 14 * dayMs + 1), [
      "warning certificates: --server-tls-cert-file: CN=node-1 expires in 13 days",
    ]);
    assert.match(
      check("/cert", "/key", until).join(),
      /^problem certificates: --server-tls-cert-file: CN=node-1 has expired on \d{4}-\d\d-\d\d$/,
    );
    assert.match(
      check("/cert", "/key", 0).join(),
      /^problem certificates: --server-tls-cert-file: CN=node-1 isn't valid before /,
    );
  });

  test("whose key is another's, or everybody's to read, are problems", { skip }, () => {
    assert.deepEqual(check("/cert", "/other.key"), [
      "problem certificates: --server-tls-key-file /other.key isn't the key of /cert",
    ]);
    assert.deepEqual(check("/cert", "/key", Date.now(), 0o644), [
      "problem certificates: --server-tls-key-file /key may be read or changed by others (mode 644), and is refused",
    ]);
    assert.deepEqual(check("/cert", "/key", Date.now(), 0o640), []);
  });

  test("that aren't there or are none are problems", () => {
    const found = check("/gone", "/empty");
    assert.match(found[0] ?? "", /^problem certificates: --server-tls-cert-file \/gone: ENOENT/);
    assert.match(found[1] ?? "", /^problem certificates: --server-tls-key-file \/empty: /);
    assert.match(
      check("/empty", "/other.key")[0] ?? "",
      /^problem certificates: --server-tls-cert-file \/empty holds no certificate$/,
    );
  });
});

/** With its key, for 30 days. Undefined where there is no openssl. */
function makeCertificate(): { readonly cert: string; readonly key: string } | undefined {
  const directory = mkdtempSync(join(tmpdir(), "proglog-doctor-"));
  try {
    const key = join(directory, "key.pem");
    const cert = join(directory, "cert.pem");
    const form = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"];
    execFileSync("openssl", [...form, "-keyout", key, "-out", cert, "-subj", "/CN=node-1"], { stdio: "ignore" });
    return { cert: readFileSync(cert, "utf8"), key: readFileSync(key, "utf8") };
  } catch {
    return undefined;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
