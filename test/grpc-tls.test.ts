import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { createServer } from "node:tls";
import { connect, GrpcServer, serve } from "../src/grpc/index.ts";
import { textMethod } from "./grpc-pair.ts";

const echo = textMethod("/test.Test/Echo", "unary");

interface Certificate {
  readonly key: Buffer;
  readonly cert: Buffer;
}

/** A certificate of its own making, for localhost. Undefined where there is no openssl. */
function makeCertificate(): Certificate | undefined {
  const directory = mkdtempSync(join(tmpdir(), "proglog-grpc-tls-"));
  try {
    const key = join(directory, "key.pem");
    const cert = join(directory, "cert.pem");
    const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
    const form = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    execFileSync("openssl", [...form, "-keyout", key, "-out", cert, ...subject], { stdio: "ignore" });
    return { key: readFileSync(key), cert: readFileSync(cert) };
  } catch {
    return undefined;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

describe("gRPC over TLS", () => {
  const certificate = makeCertificate();
  const skip = certificate === undefined && "there is no openssl to make a certificate with";

  const open = async (): Promise<{
    readonly address: string;
    readonly close: () => Promise<void>;
    readonly certificate: Certificate;
  }> => {
    assert.ok(certificate !== undefined);
    const server = new GrpcServer({
      methods: [serve(echo, (request, call) => `${request} over ${call.session.alpnProtocol}, ${call.session.encrypted}`)],
    });
    const listener = createServer({ ...certificate, ALPNProtocols: ["h2"] }, (socket) => server.acceptSocket(socket));
    listener.listen(0, "127.0.0.1");
    await once(listener, "listening");
    const close = async (): Promise<void> => {
      listener.close();
      await server.close();
    };
    return { address: `localhost:${(listener.address() as AddressInfo).port}`, close, certificate };
  };

  test("is spoken where both ends agree on h2", { skip }, async () => {
    const {
      address,
      close,
      certificate: { cert },
    } = await open();
    const channel = connect({ address, tls: { ca: cert } });
    assert.equal(await channel.unary(echo, "hello"), "hello over h2, true");
    const large = "x".repeat(1_000_000);
    assert.equal(await channel.unary(echo, large), `${large} over h2, true`);
    await channel.close();
    await close();
  });

  test("isn't spoken with a server whose certificate the client doesn't know", { skip }, async () => {
    const { address, close } = await open();
    const channel = connect({ address, tls: {} });
    await assert.rejects(channel.unary(echo, "hello"), { status: "UNAVAILABLE", isUnprocessed: true });
    await channel.close();
    await close();
  });
});
