import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, test } from "node:test";
import { issuerAnswerMaxBytes } from "../../base/security-limits.ts";
import { checkIssuerUrl, fetchIssuerKeys } from "./issuer-keys.ts";

describe("an issuer's keys", () => {
  async function withIssuer(
    answer: (issuer: string) => RequestListener,
    use: (issuer: string) => Promise<void>,
  ): Promise<void> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}/realm`;
    server.on("request", answer(issuer));
    try {
      await use(issuer);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  }

  test("are where it says that they are", async () => {
    const answer =
      (issuer: string): RequestListener =>
      (request, response) => {
        const isDiscovery = request.url === "/realm/.well-known/openid-configuration";
        response.end(JSON.stringify(isDiscovery ? { issuer, jwks_uri: `${issuer}/keys` } : { keys: [], path: request.url }));
      };
    await withIssuer(answer, async (issuer) => {
      assert.deepEqual(JSON.parse(await fetchIssuerKeys(issuer)), { keys: [], path: "/realm/keys" });
    });
  });

  test("aren't taken from elsewhere than it says, in clear, by a redirection, or of any size", async () => {
    const wrong: readonly (readonly [reason: RegExp, answer: (issuer: string) => RequestListener])[] = [
      [/calls itself something else/, () => (_, response) => response.end('{"issuer":"https://other.example"}')],
      [/doesn't say where/, (issuer) => (_, response) => response.end(JSON.stringify({ issuer }))],
      [
        /it is no https URL/,
        (issuer) => (_, response) => response.end(JSON.stringify({ issuer, jwks_uri: "http://keys.example/keys" })),
      ],
      [/fetch failed/, () => (_, response) => response.writeHead(302, { location: "/elsewhere" }).end()],
      [/answers 500/, () => (_, response) => response.writeHead(500).end()],
      [/answers more than/, () => (_, response) => response.end(" ".repeat(issuerAnswerMaxBytes + 1))],
    ];
    for (const [message, answer] of wrong)
      await withIssuer(answer, async (issuer) => {
        await assert.rejects(fetchIssuerKeys(issuer), { message });
      });
  });

  test("come over TLS, but for this machine", () => {
    for (const url of [
      "https://login.example",
      "https://login.example/realms/main/",
      "http://127.0.0.1:8080",
      "http://[::1]/x",
      "http://localhost",
    ])
      assert.equal(checkIssuerUrl(url), url);
    for (const url of [
      "",
      "login.example",
      "http://login.example",
      "ftp://127.0.0.1",
      "file:///etc/passwd",
      "https://u:p@login.example",
      "https://login.example?x",
      "https://login.example#x",
    ])
      assert.throws(() => checkIssuerUrl(url), { code: "INVALID_CONFIG" }, url);
  });
});
