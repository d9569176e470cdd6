import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, test } from "node:test";
import grpcJs from "@grpc/grpc-js";
import { connect } from "../src/grpc/index.ts";
import assert from "node:assert/strict";
import { GrpcPair } from "./grpc-pair.ts";
import { compressionCases, interopCases } from "./interop-cases.ts";
import { grpcJsInteropClient, ourInteropClient } from "./interop-client.ts";
import { GrpcJsInteropServer } from "./interop-grpc-js-server.ts";
import { interopMethods } from "./interop-service.ts";

/** gRPC's public interop cases: our two ends with each other, and each with other implementations' ends. */

describe("interop: our client with our server", () => {
  for (const [name, run] of Object.entries({ ...interopCases, ...compressionCases }))
    test(name, async () => {
      await using pair = await GrpcPair.open({ methods: interopMethods });
      await run(ourInteropClient(pair.connect()));
    });
});

describe("interop: grpc-js's client with our server", () => {
  for (const [name, run] of Object.entries(interopCases))
    test(name, async () => {
      await using pair = await GrpcPair.open({ methods: interopMethods });
      const client = new grpcJs.Client(pair.address, grpcJs.credentials.createInsecure());
      try {
        await run(grpcJsInteropClient(client));
      } finally {
        client.close();
      }
    });

  for (const name of ["server_compressed_unary", "server_compressed_streaming"])
    test(name, async () => {
      await using pair = await GrpcPair.open({ methods: interopMethods });
      const client = new grpcJs.Client(pair.address, grpcJs.credentials.createInsecure());
      try {
        await compressionCases[name]?.(grpcJsInteropClient(client));
      } finally {
        client.close();
      }
    });

  test("large_unary, compressed by the client", async () => {
    await using pair = await GrpcPair.open({ methods: interopMethods });
    const client = new grpcJs.Client(pair.address, grpcJs.credentials.createInsecure(), {
      "grpc.default_compression_algorithm": 2,
    });
    try {
      await interopCases["large_unary"]?.(grpcJsInteropClient(client));
      await interopCases["ping_pong"]?.(grpcJsInteropClient(client));
    } finally {
      client.close();
    }
  });
});

describe("interop: our client with grpc-js's server", () => {
  for (const [name, run] of Object.entries(interopCases))
    test(name, async () => {
      await using server = await GrpcJsInteropServer.open();
      await using channel = connect({ address: server.address });
      await run(ourInteropClient(channel));
    });

  test("large_unary, compressed by the client", async () => {
    await using server = await GrpcJsInteropServer.open();
    await using channel = connect({ address: server.address });
    const client = ourInteropClient(channel);
    await interopCases["large_unary"]?.({
      ...client,
      unary: (path, request, options) => client.unary(path, request, { ...options, isCompressing: true }),
    });
  });
});

/** grpc-go's, from the Go module proxy: `go install google.golang.org/grpc/interop/{client,server}@latest`. */
const goClient = process.env["GRPC_GO_INTEROP_CLIENT"];
const goServer = process.env["GRPC_GO_INTEROP_SERVER"];

describe("interop: grpc-go's client with our server", () => {
  for (const name of Object.keys(interopCases))
    test(name, { skip: goClient === undefined && "GRPC_GO_INTEROP_CLIENT doesn't name grpc-go's interop client" }, async () => {
      await using pair = await GrpcPair.open({ methods: interopMethods });
      const child = spawn(goClient ?? "", ["--server_host=127.0.0.1", `--server_port=${pair.port}`, `--test_case=${name}`]);
      let output = "";
      child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
      const [code] = (await once(child, "exit")) as [number | null];
      assert.equal(code, 0, output);
    });
});

describe("interop: our client with grpc-go's server", () => {
  for (const [name, run] of Object.entries(interopCases))
    test(name, { skip: goServer === undefined && "GRPC_GO_INTEROP_SERVER doesn't name grpc-go's interop server" }, async () => {
      const port = await freePort();
      const child = spawn(goServer ?? "", [`--port=${port}`], { stdio: "ignore" });
      const exited = once(child, "exit");
      try {
        await using channel = connect({ address: `127.0.0.1:${port}` });
        await channel.ready({ isPatient: true, timeoutMs: 10_000 });
        await run(ourInteropClient(channel));
      } finally {
        child.kill();
        await exited;
      }
    });
});

/** grpc-go's server takes no port 0. */
async function freePort(): Promise<number> {
  await using pair = await GrpcPair.open({ methods: [] });
  return pair.port;
}
