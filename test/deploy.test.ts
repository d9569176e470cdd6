import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import packageManifest from "../package.json" with { type: "json" };
import { checkBindAddress } from "../src/server/bind-address.ts";
import { type Config, configKeys, parseConfig } from "../src/server/index.ts";
import { checkPeerAddress, isGuarded } from "../src/server/tls-config.ts";
import { repository } from "./source-code.ts";

type Environment = Readonly<Record<string, string>>;

const chart = "deploy/helm/proglog";
const read = (path: string): string => readFileSync(join(repository, path), "utf8");
const files = globSync("deploy/**/*", { cwd: repository, withFileTypes: true }).flatMap((entry) =>
  entry.isFile() ? [join(entry.parentPath, entry.name).slice(repository.length + 1)] : [],
);

/** Looks for a command; a test without it is skipped by name. */
function skipWithout(command: string, ...parameters: readonly string[]): false | string {
  const { status } = spawnSync(command, parameters, { stdio: "ignore" });
  return status === 0 ? false : `SKIPPED: there is no ${[command, ...parameters].join(" ")}`;
}

/** Standard output; fails with what it says when it fails. */
function run(command: string, ...parameters: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, parameters, { cwd: repository, encoding: "utf8" });
  if (error !== undefined) throw error;
  assert.equal(status, 0, `${command} ${parameters.join(" ")}\n${stdout}${stderr}`);
  return stdout;
}

describe("what it is shipped with", () => {
  test("names flags and variables that there are", () => {
    const variables = new Set(configKeys.map(({ environment }) => environment));
    const flags = new Set(configKeys.map(({ name }) => name));
    const pages = `${read("docs/cli.md")}${read("docs/tls.md")}`;
    const unknown = files.flatMap((path) => {
      const text = read(path).replaceAll(/^\s*#.*$/gm, "");
      const named = [...text.matchAll(/\bPROGLOG_[A-Z][A-Z_]*\b/g)]
        .map(([name]) => name)
        .filter((name) => !variables.has(name) && !pages.includes(`\`${name}\``));
      // Of proglog, not of what is around it.
      const commands = text.replaceAll(
        /^HEALTHCHECK .*? CMD|\bkubectl --namespace|\/tsc --project|^.*\b(?:npm|useradd) .*$/gm,
        "",
      );
      const strange = [...commands.matchAll(/(?<=[\s"[])--([a-z][a-z-]*)/g)]
        .map(([, name = ""]) => name)
        .filter((name) => !flags.has(name) && !pages.includes(`--${name}`));
      return [...named, ...strange].map((name) => `${path}: ${name}`);
    });
    assert.deepEqual(unknown, []);
    assert.ok(files.length >= 12, `${files.length} files`);
  });

  test("the image has all that its steps copy, and what it is told is a configuration but for clients in clear", () => {
    const dockerfile = read("deploy/docker/Dockerfile");
    const admitted = new Set([...read(".dockerignore").matchAll(/^!(.+)$/gm)].map(([, name]) => name));
    const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, sources = ""]) => sources.split(" "));
    assert.deepEqual(
      copied.filter((source) => !admitted.has(source)),
      [],
    );
    assert.deepEqual(
      copied.filter((source) => !existsSync(join(repository, source))),
      [],
    );
    assert.throws(() => checkedConfig({}), { code: "INSECURE_ADDRESS" });
    const { bindAddr, dataDir } = checkedConfig({ PROGLOG_INSECURE: "true" });
    assert.deepEqual([bindAddr, dataDir], ["0.0.0.0", "/var/lib/proglog"]);
    assert.match(dockerfile, /^USER \d+:\d+$/m);
    // Of one major version each, and of the one that it is developed on.
    assert.deepEqual(
      [...dockerfile.matchAll(/^(?:ARG NODE_IMAGE=|FROM (?!\$\{NODE_IMAGE\}))(.*)$/gm)].map(([, image]) => image),
      ["node:26-bookworm-slim"],
    );
  });

  test("compose: three nodes that know each other, each with its own volume, certificate and port", () => {
    const compose = read("deploy/compose.yaml");
    const shared = environmentOf(/^x-settings:.*\n((?: {2}.*\n)+)/m.exec(compose)?.[1] ?? "");
    const nodes = ["n1", "n2", "n3"].map((name) => {
      const service = new RegExp(`^ {2}${name}:\\n((?: {4}.*\\n)+)`, "m").exec(compose)?.[1] ?? "";
      return { name, service, config: checkedConfig({ PROGLOG_INSECURE: "true", ...shared, ...environmentOf(service) }) };
    });
    const addresses = nodes.map(({ config }) => config.advertiseAddr);
    for (const { name, service, config } of nodes) {
      assert.equal(config.nodeName, name);
      assert.equal(config.advertiseAddr, `${name}:${config.rpcPort}`);
      assert.deepEqual(config.startJoinAddrs?.split(","), addresses);
      assert.equal(config.initialNodes, nodes.length);
      assert.match(config.peerTlsKeyFile ?? "", new RegExp(`/${name}-peer-key\\.pem$`));
      assert.match(service, new RegExp(`"127\\.0\\.0\\.1:${config.rpcPort}:${config.rpcPort}"`));
      assert.match(service, new RegExp(`"${name}:/var/lib/proglog"`));
      assert.match(service, new RegExp(`proglog, health, --server, "127\\.0\\.0\\.1:${config.rpcPort}"`));
    }
  });

  const noCompose = skipWithout("docker", "compose", "version");
  test("compose: docker understands it", { skip: noCompose }, () => {
    const config = JSON.parse(run("docker", "compose", "--file", "deploy/compose.yaml", "config", "--format", "json")) as {
      services: Record<string, { environment?: Environment; read_only?: boolean }>;
    };
    assert.deepEqual(Object.keys(config.services).sort(), ["certs", "n1", "n2", "n3"]);
    for (const [name, { environment, read_only }] of Object.entries(config.services)) {
      assert.equal(read_only, true);
      if (name !== "certs") checkedConfig({ PROGLOG_INSECURE: "true", ...environment });
    }
  });

  const noSystemd = skipWithout("systemd-analyze", "--version");
  test("systemd: the unit is understood, and leaves little open", { skip: noSystemd }, () => {
    const unit = "deploy/systemd/proglog.service";
    assert.equal(run("systemd-analyze", "verify", "--man=no", unit), "");
    const threshold = 20; // of 100, and in systemd's words OK
    run("systemd-analyze", "security", "--offline=true", `--threshold=${threshold}`, unit);
  });

  test("systemd: a stop has more time than the node takes by itself", () => {
    const unit = read("deploy/systemd/proglog.service");
    const stopSeconds = Number(/^TimeoutStopSec=(\d+)s$/m.exec(unit)?.[1]);
    const graceSeconds = parseConfig({ flags: {} }).stopGraceMs / 1000;
    assert.ok(stopSeconds > 2 * graceSeconds, unit);
    const kubernetesSeconds = Number(/^terminationGracePeriodSeconds: (\d+)$/m.exec(read(`${chart}/values.yaml`))?.[1]);
    assert.ok(kubernetesSeconds > 2 * graceSeconds);
    assert.match(unit, /^Environment=.*PROGLOG_DATA_DIR=\/var\/lib\/proglog$/m);
    assert.match(unit, /^StateDirectory=proglog$/m);
  });
});

describe("the chart", () => {
  const noHelm = skipWithout("helm", "version");
  const kubernetes = ["--kube-version", "1.32.0"];
  const examples = globSync(`${chart}/ci/*-values.yaml`, { cwd: repository }).sort();
  const render = (...parameters: readonly string[]): string =>
    run("helm", "template", "logs", chart, "--namespace", "prod", ...kubernetes, ...parameters);

  test("is of this version", () => {
    assert.match(read(`${chart}/Chart.yaml`), new RegExp(`^appVersion: "${packageManifest.version}"$`, "m"));
    assert.ok(examples.length >= 4);
  });

  test("its values are all described by its schema, and no others", () => {
    const { properties } = JSON.parse(read(`${chart}/values.schema.json`)) as { properties: object };
    const values = new Set([...read(`${chart}/values.yaml`).matchAll(/^([a-zA-Z]+):/gm)].map(([, name = ""]) => name));
    assert.deepEqual(new Set(Object.keys(properties).filter((name) => name !== "global")), values);
  });

  for (const example of examples)
    test(`helm lints and renders ${example}, and each pod is told what a node takes`, { skip: noHelm }, () => {
      run("helm", "lint", "--strict", chart, ...kubernetes, "--values", example);
      const rendered = render("--values", example);
      const replicas = Number(/^ {2}replicas: (\d+)$/m.exec(rendered)?.[1]);
      const names = Array.from({ length: replicas }, (_, number) => `logs-proglog-${number}`);
      const written = /proglog\.json: \|\n((?: {4}.*\n)+)/.exec(rendered)?.[1] ?? "";
      const file = JSON.parse(written) as Readonly<Record<string, unknown>>;
      for (const name of names) {
        const config = checkedConfig(podEnvironment(rendered, name), file);
        if (config.initialNodes === null) continue;
        assert.equal(config.nodeName, name);
        assert.ok(config.advertiseAddr?.startsWith(`${name}.`));
        assert.ok(config.peerTlsCertFile !== null);
        const mounted = rendered.includes(`path: ${name}.key`);
        assert.ok(mounted || !config.peerTlsKeyFile?.includes(name), `${config.peerTlsKeyFile} is mounted`);
      }
      // Kubernetes' own variables of services begin with the service's name.
      assert.match(rendered, /enableServiceLinks: false/);
      for (const kept of [
        /runAsNonRoot: true/,
        /readOnlyRootFilesystem: true/,
        /allowPrivilegeEscalation: false/,
        /drop: \[ALL\]/,
      ])
        assert.match(rendered, kept);
    });

  test("helm refuses what can't be right, and says what to do", { skip: noHelm }, () => {
    const cases: readonly (readonly [settings: string, said: RegExp])[] = [
      ["insecure=true", /set tls\.peer\.secretPrefix/],
      ["tls.peer.secretPrefix=a", /set tls\.server\.secretName, or insecure to true/],
      ["tls.peer.secretPrefix=a,tls.server.secretName=b", /set tls\.server\.probeSecretName/],
      ["tls.peer.secretPrefix=a,insecure=true,replicas=2", /it would never begin/],
      ["tls.peer.secretPrefix=a,insecure=true,replicas=5", /set it to replicas for the installation/],
      ["cluster.enabled=false,insecure=true", /set replicas to 1/],
      ["insecure=true,replicsa=3", /replicsa/],
      ["insecure=true,config.Data_dir=x", /Data_dir/],
    ];
    for (const [settings, said] of cases) {
      const { status, stderr } = spawnSync("helm", ["template", "logs", chart, ...kubernetes, "--set", settings], {
        cwd: repository,
        encoding: "utf8",
      });
      assert.notEqual(status, 0, settings);
      assert.match(stderr, said);
    }
    // More nodes than at the beginning are fine once it is there.
    render("--is-upgrade", "--set", "tls.peer.secretPrefix=a,insecure=true,replicas=5");
  });
});

/** What a container of the image comes to be with these variables. Throws when it wouldn't start. */
function checkedConfig(environment: Environment, file: Readonly<Record<string, unknown>> = {}): Config {
  const image = environmentOf(/^ENV ((?:.*\\\n)*.*)$/m.exec(read("deploy/docker/Dockerfile"))?.[1] ?? "");
  const config = parseConfig({ env: { ...image, ...environment }, file: { path: "proglog.json", values: file } });
  checkBindAddress(config.bindAddr, { isInsecure: config.insecure, isGuarded: isGuarded(config) });
  if (config.initialNodes !== null) checkPeerAddress(config);
  return config;
}

/** `NAME=value`, `NAME: value` or `- name: NAME` and `value: …` behind it. */
function environmentOf(text: string): Environment {
  const pairs = [...text.matchAll(/\b(PROGLOG_[A-Z_]+)(?:=|: |\n\s+value: )("?)([^"\n\\]*?)\2\s*(?:\\?$)/gm)];
  return Object.fromEntries(pairs.map(([, name = "", , value = ""]) => [name, value]));
}

function podEnvironment(rendered: string, podName: string): Environment {
  const pod = rendered.slice(rendered.indexOf("kind: StatefulSet"));
  const entries = Object.entries(environmentOf(pod)).map(([name, value]) => [name, value.replaceAll("$(POD_NAME)", podName)]);
  return Object.fromEntries(entries) as Environment;
}
