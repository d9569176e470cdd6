import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { repository } from "./source-code.ts";
import { ThreeNodes } from "./three-nodes.ts";
import { startTestNode, type TestNode } from "./test-node.ts";

const skip = spawnSync("curl", ["--version"]).status === 0 ? false : "there is no curl";

test("every command of docs/http.md does what the page says, section by section on a new node", { skip }, async () => {
  const page = readFileSync(join(repository, "docs", "http.md"), "utf8");
  const sections = page.split(/^## /m).map((text) => ({
    isOfCluster: text.startsWith("A cluster\n"),
    commands: [...text.matchAll(/^ {4}(.*\bcurl .+)$/gm)].map(([, command = ""]) => command),
  }));
  assert.ok(sections.some(({ isOfCluster, commands }) => isOfCluster && commands.length > 0));
  const commands = sections.flatMap((section) => section.commands);
  assert.ok(commands.length >= 12, `${commands.length} commands`);
  const folder = mkdtempSync(join(tmpdir(), "proglog-http-page-"));
  try {
    writeFileSync(join(folder, "picture.png"), Buffer.from([0, 255, 10]));
    writeFileSync(join(folder, "app.json"), '{"value":"a"}\n{"value":"b"}\n');
    // What curl does beside what it is told: an error is one, and says so.
    writeFileSync(join(folder, ".curlrc"), "silent\nshow-error\nfail-with-body\nmax-time = 20\n");
    const outputs = new Map<string, string>();
    for (const { isOfCluster, commands: ofSection } of sections.filter((section) => section.commands.length > 0)) {
      if (isOfCluster) {
        await tryCluster(ofSection, folder);
        continue;
      }
      await using node = await startTestNode();
      await node.post("/v1/topics/account-7/records", [{ value: "a" }, { value: "b" }, { value: "c" }]);
      const makesOrders = ofSection.some((command) => /"name":"orders"/.test(command));
      if (!makesOrders) await node.post("/v1/topics/orders/records", { value: "first" });
      let token = "";
      for (const command of ofSection) {
        const output = await run(command, folder, node, token);
        outputs.set(command, output);
        // What the page's reader keeps of the answer.
        token = /"token":"([^"]+)"/.exec(output)?.[1] ?? token;
      }
    }
    const outputOf = (pattern: RegExp): string => outputs.get(commands.find((command) => pattern.test(command)) ?? "") ?? "";
    assert.match(outputOf(/tail -F/), /"baseOffset":0,"count":2,"isDurable":true,"firstLine":1,"lastLine":2\}\n$/);
    assert.match(outputOf(/-i 'http.*account-7/), /\r\netag: "3"\r\n/i);
    assert.match(outputOf(/if-match/), /\r\netag: "4"\r\n/i);
    assert.match(outputOf(/text\/event-stream/), /^retry: \d+\nid: -1\n\nid: 0\ndata: \{"partition":0,"offset":0,/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** The node that the page takes out may be on its way for long: nothing depends on when it is gone, and others take its places. */
async function tryCluster(commands: readonly string[], folder: string): Promise<void> {
  await using cluster = await ThreeNodes.start();
  await cluster.client.createTopic("orders");
  await cluster.leaderOf("orders");
  for (const command of commands) await run(command.replace('"n4"', '"n3"'), folder, cluster.node("n1"));
}

/** What a command of the page prints. One that goes on for ever is ended when it has had its time. */
async function run(command: string, folder: string, node: TestNode, token = ""): Promise<string> {
  const isEndless = /event-stream|follow=true/.test(command);
  const adapted = command
    .replaceAll("http://127.0.0.1:8000", node.node.url)
    .replace("tail -F", "cat")
    .replace("curl ", isEndless ? "curl --max-time 0.5 " : "curl ");
  const child = spawn("sh", ["-c", adapted], { cwd: folder, env: { ...process.env, CURL_HOME: folder, TOKEN: token } });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
  const code = await new Promise((resolve) => child.once("close", resolve));
  assert.equal(code, isEndless ? timedOut : 0, `${command}\n${output}`);
  return output;
}

/** As curl says it. */
const timedOut = 28;
