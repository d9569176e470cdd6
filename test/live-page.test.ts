import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { createMemoryDisk } from "../src/base/memory-disk.ts";
import { parseConfig, startNode } from "../src/server/index.ts";
import { repository } from "./source-code.ts";

const executablePath = [
  process.env["CHROMIUM"],
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
].find((path) => path !== undefined && existsSync(path));
const skip = executablePath === undefined ? "there is no Chromium: install it, or name one with CHROMIUM=/path" : false;

test("the page of the example live-page shows records in a browser as they come", { skip }, async () => {
  assert(executablePath !== undefined);
  const config = parseConfig({ flags: { "rpc-port": 0, "log-level": "silent" } });
  await using node = await startNode(config, { disk: createMemoryDisk() });
  const produce = async (record: object): Promise<void> => {
    const headers = { "content-type": "application/json" };
    const response = await fetch(`${node.url}/v1/topics/orders/records`, {
      method: "POST",
      headers,
      body: JSON.stringify(record),
    });
    assert.equal(response.status, 200, await response.text());
  };
  await produce({ key: "a", value: "<b>one</b>" });
  await produce({ value: "two" });

  const example = spawn(process.execPath, [join(repository, "examples/live-page.ts"), node.url, "orders", "0"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const { chromium } = await import("playwright-core");
  const args = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"];
  const browser = await chromium.launch({ executablePath, args });
  try {
    const line = await createInterface({ input: example.stdout })[Symbol.asyncIterator]().next();
    const page = await browser.newPage();
    await page.goto(String(line.value));
    const shown = async (count: number): Promise<string[]> => {
      await page.waitForSelector(`li:nth-child(${count})`);
      return await page.locator("li").allTextContents();
    };
    // The markup in it stays text.
    assert.deepEqual(await shown(2), ["0: a <b>one</b>", "1:  two"]);
    await produce({ key: "b", value: "three" });
    assert.deepEqual(await shown(3), ["0: a <b>one</b>", "1:  two", "2: b three"]);
    assert.equal(await page.textContent("#state"), "live");
  } finally {
    await browser.close();
    example.kill("SIGKILL");
  }
});
