import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { askHttp1 } from "./ask-tls.ts";
import { Command, makeFolder } from "./command-process.ts";
import { findFreePorts } from "./free-ports.ts";
import { repository } from "./source-code.ts";
import { waitUntil } from "./wait-until.ts";

test("docs/howto/three-machines.md: its certificates and configurations make a cluster, which serves those with a certificate alone", async () => {
  const page = readFileSync(join(repository, "docs/howto/three-machines.md"), "utf8");
  using folder = makeFolder();
  const certificates = join(folder.path, "certs");
  const commands = [...page.matchAll(/^proglog (certs .*)$/gm)].map(([, command = ""]) => command);
  assert.equal(commands.length, 5);
  for (const command of commands) {
    await using made = new Command(...command.replaceAll(/10\.0\.0\.\d/g, "127.0.0.1").split(" "), "--dir", certificates);
    assert.deepEqual(await made.exit(), { code: 0, signal: null }, made.stderr);
  }

  const ports = await findFreePorts(3);
  const nodes = ["n1", "n2", "n3"].map((name, number) => {
    const config = readFileSync(join(repository, `examples/three-machines/${name}.yaml`), "utf8")
      .replaceAll(/10\.0\.0\.(\d):8000/g, (_, machine: string) => `127.0.0.1:${ports[Number(machine) - 1]}`)
      .replace(/^bind-addr: 10\.0\.0\.\d$/m, "bind-addr: 127.0.0.1")
      .replace("rpc-port: 8000", `rpc-port: ${ports[number]}`)
      .replaceAll("/etc/proglog", certificates)
      .replace("/var/lib/proglog", join(folder.path, name));
    assert.doesNotMatch(config, /10\.0\.0\.|8000|\/etc|\/var\/lib/);
    const path = join(folder.path, `${name}.yaml`);
    writeFileSync(path, config);
    return new Command("serve", "--config-file", path);
  });
  try {
    await Promise.all(nodes.map((node) => node.waitFor("stdout", /serves https:/)));
    const [, status = ""] = /^proglog (cluster status --server 10\.0\.0\.1 .*)$/m.exec(page) ?? [];
    const asked = status.replace("10.0.0.1", `localhost:${ports[0]}`).replaceAll("certs/", `${certificates}/`).split(" ");
    const told = await waitUntil("the page's command sees three nodes", async () => {
      await using command = new Command(...asked);
      const { code } = await command.exit();
      return code === 0 && command.stdout;
    });
    assert.match(told, /: 3 nodes, .* all well\n/);
    // As the chart's probes ask.
    await using health = new Command("health", ...asked.slice(2));
    assert.deepEqual([(await health.exit()).code, health.stdout], [0, "serving\n"]);
    const read = (name: string): string => readFileSync(join(certificates, name), "utf8");
    const root = { ca: read("ca.pem"), cert: read("root.pem"), key: read("root-key.pem") };
    for (const port of ports) {
      await waitUntil("it knows its cluster", async () => (await askHttp1(port, root, "/v1/cluster")) === "served");
      // Without a certificate nobody is served, and a node's own isn't a client's.
      for (const tls of [{ ca: root.ca }, { ca: root.ca, cert: read("n1-peer.pem"), key: read("n1-peer-key.pem") }]) {
        const answer = await askHttp1(port, tls, "/v1/cluster").catch((error: unknown) => String(error));
        assert.notEqual(answer, "served");
      }
    }
  } finally {
    for (const node of nodes) await node[Symbol.asyncDispose]();
  }
});
