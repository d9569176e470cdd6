import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { CuttableProxy } from "./cuttable-proxy.ts";
import { startTestNode, type TestNode } from "./test-node.ts";

const executable = [process.env["CHROMIUM"], "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(
  (path) => path !== undefined && existsSync(path),
);
const skip = executable === undefined ? "there is no Chromium: install it, or name one with CHROMIUM=/path" : false;

/** A real browser's EventSource, on a page of another site than the node's. It reconnects after the second that it is told to. */
describe("a tail in a browser", { skip }, () => {
  let browser: Browser | undefined;
  let site: Server | undefined;

  before(async () => {
    const { chromium } = await import("playwright-core");
    browser = await chromium.launch({
      ...(executable === undefined ? {} : { executablePath: executable }),
      // Its own directory of a user is new each time. The rest keeps it from talking to anybody else.
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    });
    site = createServer((_request, response) => response.setHeader("content-type", "text/html").end(html));
    site.listen(0, "127.0.0.1");
    await once(site, "listening");
  });
  after(async () => {
    await browser?.close();
    site?.closeAllConnections();
    site?.close();
  });

  /** A page of the site that was let in, or of one that wasn't: the same one by another name. */
  async function openPage(host = "127.0.0.1"): Promise<Page> {
    assert(browser !== undefined);
    const page = await browser.newPage();
    await page.goto(`http://${host}:${portOfSite()}/`);
    return page;
  }

  function portOfSite(): number {
    assert(site !== undefined);
    return (site.address() as AddressInfo).port;
  }

  function startNode(): Promise<TestNode> {
    return startTestNode({ flags: { "allow-origin": `http://127.0.0.1:${portOfSite()}` } });
  }

  test("gets records as they come, and when its connection is cut goes on by itself with no loss and no double", async () => {
    await using node = await startNode();
    await using proxy = await CuttableProxy.open(node.port);
    await node.post("/v1/topics", { name: "orders", partitions: 2 });
    const produced: string[] = [];
    const produce = async (count: number): Promise<void> => {
      for (let number = 0; number < count; number += 1) {
        const value = `${produced.length}`;
        produced.push(value);
        await node.post(`/v1/topics/orders/records?partition=${(produced.length * 3) % 2}`, { value });
      }
    };
    await produce(3);
    const page = await openPage();
    await page.evaluate((url) => follow(url), `http://127.0.0.1:${proxy.port}/v1/topics/orders/records`);
    await valuesOnceThere(page, 3);
    await produce(3);
    await valuesOnceThere(page, 6);
    proxy.cut();
    await produce(4);
    proxy.mend();
    await valuesOnceThere(page, 10);
    await produce(2);
    const values = await valuesOnceThere(page, 12);
    assert.deepEqual(values.toSorted(byNumber), produced);
    // Each partition in its own order.
    for (const partition of [0, 1]) {
      const own = values.filter((value) => ((Number(value) + 1) * 3) % 2 === partition);
      assert.deepEqual(own, own.toSorted(byNumber));
    }
    const { opens } = await stateOf(page);
    assert.equal(opens, 2);
    assert.match(proxy.heads.at(-1) ?? "", /\r\nLast-Event-ID: 0:2,1:2\r\n/i);
    await page.close();
  });

  test("that has seen no event yet misses none when its connection is cut", async () => {
    await using node = await startNode();
    await using proxy = await CuttableProxy.open(node.port);
    await node.post("/v1/topics/orders/records", [{ value: "before" }, { value: "too" }]);
    const page = await openPage();
    await page.evaluate((url) => follow(url), `http://127.0.0.1:${proxy.port}/v1/topics/orders/records?from=end`);
    await page.waitForFunction(() => state.opens === 1);
    // The first block comes with the head; this goes the same way behind it.
    await page.evaluate((url) => fetch(url).then((answer) => answer.text()), `http://127.0.0.1:${proxy.port}/livez`);
    proxy.cut();
    await node.post("/v1/topics/orders/records", { value: "meanwhile" });
    proxy.mend();
    assert.deepEqual(await valuesOnceThere(page, 1), ["meanwhile"]);
    assert.match(proxy.heads.at(-1) ?? "", /\r\nLast-Event-ID: 1\r\n/i);
    await page.close();
  });

  test("hears why a tail ended, comes back, and stops for good when there is nothing to come back to", async () => {
    await using node = await startNode();
    await node.post("/v1/topics/orders/records", { value: "a" });
    const page = await openPage();
    await page.evaluate((url) => follow(url), `${node.node.url}/v1/topics/orders/records`);
    await valuesOnceThere(page, 1);
    await node.send("DELETE", "/v1/topics/orders");
    await page.waitForFunction(() => state.isClosed);
    const { problems } = await stateOf(page);
    assert.deepEqual(problems, ["TOPIC_NOT_FOUND"]);
    await page.close();
  });

  test("of a site that was let in may produce, and that of another may do nothing", async () => {
    await using node = await startNode();
    await node.post("/v1/topics/orders/records", { value: "a" });
    const url = `${node.node.url}/v1/topics/orders/records`;
    const send = (page: Page): Promise<number> =>
      page.evaluate(
        (to) =>
          fetch(to, { method: "POST", headers: { "content-type": "application/json" }, body: '{"value":"b"}' }).then(
            (answer) => answer.status,
            () => 0,
          ),
        url,
      );
    const friend = await openPage();
    assert.equal(await send(friend), 200);
    const stranger = await openPage("localhost");
    assert.equal(await send(stranger), 0);
    await stranger.evaluate((from) => follow(from), url);
    await stranger.waitForFunction(() => state.isClosed);
    assert.deepEqual((await stateOf(stranger)).values, []);
    assert.equal(await node.metric('proglog_log_end_offset{topic="orders",partition="0"}'), 2);
    await friend.close();
    await stranger.close();
  });
});

/** What the page's script keeps. */
interface PageState {
  readonly values: string[];
  readonly problems: string[];
  readonly opens: number;
  readonly isClosed: boolean;
}

// The names that the page's own script makes, for the functions that run there.
declare const state: PageState;
declare function follow(url: string): void;

const html = `<!doctype html><title>tail</title><script>
  const state = { values: [], problems: [], opens: 0, isClosed: false };
  function follow(url) {
    const source = new EventSource(url);
    source.onopen = () => { state.opens += 1; };
    source.onmessage = ({ data }) => state.values.push(JSON.parse(data).value);
    source.addEventListener("problem", ({ data }) => state.problems.push(JSON.parse(data).code));
    source.onerror = () => { state.isClosed = source.readyState === EventSource.CLOSED; };
  }
</script>`;

async function valuesOnceThere(page: Page, count: number): Promise<string[]> {
  await page.waitForFunction((wanted) => state.values.length >= wanted, count);
  return (await stateOf(page)).values;
}

function stateOf(page: Page): Promise<PageState> {
  return page.evaluate(() => state);
}

function byNumber(left: string, right: string): number {
  return Number(left) - Number(right);
}
