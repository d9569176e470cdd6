import assert from "node:assert/strict";
import { type InteropClient, type ReceivedMetadata, statusOf } from "./interop-client.ts";
import {
  decodeInputResponse,
  encodeInputRequest,
  encodeSimpleRequest,
  encodeStreamingRequest,
  readPayload,
} from "./interop-messages.ts";
import { interopPaths as paths } from "./interop-service.ts";

/** gRPC's public interop cases, by their names in its descriptions, for any client against any server of the test service. */
export const interopCases: Readonly<Record<string, (client: InteropClient) => Promise<void>>> = {
  async empty_unary(client) {
    assert.equal((await client.unary(paths.empty, Buffer.alloc(0))).length, 0);
  },

  async large_unary(client) {
    const response = await client.unary(
      paths.unary,
      encodeSimpleRequest({ responseSize: 314_159, payload: Buffer.alloc(271_828) }),
    );
    assert.equal(readPayload(response)?.length, 314_159);
  },

  async client_streaming(client) {
    const call = await client.clientStream(paths.input);
    for (const size of requestSizes) await call.send(encodeInputRequest(Buffer.alloc(size)));
    call.end();
    assert.equal(decodeInputResponse(await call.response), 74_922);
  },

  async server_streaming(client) {
    const call = await client.serverStream(
      paths.output,
      encodeStreamingRequest({ responses: responseSizes.map((size) => ({ size })) }),
    );
    for (const size of responseSizes) assert.equal(sizeOf(await call.read()), size);
    assert.equal(await call.read(), undefined);
  },

  async ping_pong(client) {
    const call = await client.bidiStream(paths.duplex);
    for (const [position, size] of requestSizes.entries()) {
      const responseSize = responseSizes[position] ?? 0;
      await call.send(encodeStreamingRequest({ responses: [{ size: responseSize }], payload: Buffer.alloc(size) }));
      assert.equal(sizeOf(await call.read()), responseSize);
    }
    call.end();
    assert.equal(await call.read(), undefined);
  },

  async empty_stream(client) {
    const call = await client.bidiStream(paths.duplex);
    call.end();
    assert.equal(await call.read(), undefined);
  },

  async custom_metadata(client) {
    const metadata = {
      "x-grpc-test-echo-initial": "test_initial_metadata_value",
      "x-grpc-test-echo-trailing-bin": Buffer.from("0a0b0a0b0a0b", "hex"),
    };
    const received: { headers?: ReceivedMetadata; trailers?: ReceivedMetadata } = {};
    const options = {
      metadata,
      onHeaders: (headers: ReceivedMetadata) => void (received.headers = headers),
      onTrailers: (trailers: ReceivedMetadata) => void (received.trailers = trailers),
    };
    const check = (): void => {
      assert.equal(received.headers?.text("x-grpc-test-echo-initial"), "test_initial_metadata_value");
      assert.deepEqual(received.trailers?.bytes("x-grpc-test-echo-trailing-bin"), metadata["x-grpc-test-echo-trailing-bin"]);
      delete received.headers;
      delete received.trailers;
    };
    await client.unary(paths.unary, encodeSimpleRequest({ responseSize: 1, payload: Buffer.alloc(1) }), options);
    check();
    const call = await client.bidiStream(paths.duplex, options);
    await call.send(encodeStreamingRequest({ responses: [{ size: 1 }], payload: Buffer.alloc(1) }));
    assert.equal(sizeOf(await call.read()), 1);
    call.end();
    assert.equal(await call.read(), undefined);
    check();
  },

  async status_code_and_message(client) {
    const status = { code: 2, message: "test status message" };
    await rejectsWith(client.unary(paths.unary, encodeSimpleRequest({ status })), status);
    const call = await client.bidiStream(paths.duplex);
    await call.send(encodeStreamingRequest({ responses: [], status }));
    call.end();
    await rejectsWith(call.read(), status);
  },

  async special_status_message(client) {
    const status = { code: 2, message: "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n" };
    await rejectsWith(client.unary(paths.unary, encodeSimpleRequest({ status })), status);
  },

  async unimplemented_method(client) {
    await rejectsWith(client.unary(paths.unimplementedMethod, Buffer.alloc(0)), { code: 12 });
  },

  async unimplemented_service(client) {
    await rejectsWith(client.unary(paths.unimplementedService, Buffer.alloc(0)), { code: 12 });
  },

  async cancel_after_begin(client) {
    const call = await client.clientStream(paths.input);
    call.cancel();
    await rejectsWith(call.response, { code: 1 });
  },

  async cancel_after_first_response(client) {
    const call = await client.bidiStream(paths.duplex);
    await call.send(encodeStreamingRequest({ responses: [{ size: 31_415 }], payload: Buffer.alloc(27_182) }));
    assert.equal(sizeOf(await call.read()), 31_415);
    call.cancel();
    await rejectsWith(call.read(), { code: 1 });
  },

  async timeout_on_sleeping_server(client) {
    // It may pass before there is a call at all.
    const run = async (): Promise<unknown> => {
      const call = await client.bidiStream(paths.duplex, { timeoutMs: 1 });
      call.send(encodeStreamingRequest({ responses: [], payload: Buffer.alloc(27_182) })).catch(() => {});
      return call.read();
    };
    await rejectsWith(run(), { code: 4 });
  },
};

/** The cases that need a client that says of each message whether it is compressed. */
export const compressionCases: Readonly<Record<string, (client: InteropClient) => Promise<void>>> = {
  async client_compressed_unary(client) {
    const request = encodeSimpleRequest({ expectCompressed: true, responseSize: 314_159, payload: Buffer.alloc(271_828) });
    // First the probe: the server must notice that it isn't.
    await rejectsWith(client.unary(paths.unary, request), { code: 3 });
    assert.equal(sizeOf(await client.unary(paths.unary, request, { isCompressing: true })), 314_159);
    const plain = encodeSimpleRequest({ expectCompressed: false, responseSize: 314_159, payload: Buffer.alloc(271_828) });
    assert.equal(sizeOf(await client.unary(paths.unary, plain)), 314_159);
  },

  async client_compressed_streaming(client) {
    const probe = await client.clientStream(paths.input);
    await probe.send(encodeInputRequest(Buffer.alloc(27_182), true));
    probe.end();
    await rejectsWith(probe.response, { code: 3 });
    const call = await client.clientStream(paths.input, { isCompressing: true });
    await call.send(encodeInputRequest(Buffer.alloc(27_182), true));
    (call as { isCompressing?: boolean }).isCompressing = false;
    await call.send(encodeInputRequest(Buffer.alloc(45_904), false));
    call.end();
    assert.equal(decodeInputResponse(await call.response), 73_086);
  },

  async server_compressed_unary(client) {
    for (const responseCompressed of [true, false]) {
      const request = encodeSimpleRequest({ responseCompressed, responseSize: 314_159, payload: Buffer.alloc(271_828) });
      assert.equal(sizeOf(await client.unary(paths.unary, request)), 314_159);
    }
  },

  async server_compressed_streaming(client) {
    const responses = [
      { size: 31_415, isCompressed: true },
      { size: 92_653, isCompressed: false },
    ];
    for (const order of [responses, responses.toReversed()]) {
      const call = await client.serverStream(paths.output, encodeStreamingRequest({ responses: order }));
      for (const { size } of order) assert.equal(sizeOf(await call.read()), size);
      assert.equal(await call.read(), undefined);
    }
  },
};

const requestSizes = [27_182, 8, 1_828, 45_904];
const responseSizes = [31_415, 9, 2_653, 58_979];

function sizeOf(response: Buffer | undefined): number | undefined {
  return response === undefined ? undefined : readPayload(response)?.length;
}

async function rejectsWith(
  promise: Promise<unknown>,
  expected: { readonly code: number; readonly message?: string },
): Promise<void> {
  await assert.rejects(promise, (error) => {
    const { code, message } = statusOf(error);
    assert.deepEqual({ code, ...(expected.message !== undefined && { message }) }, expected);
    return true;
  });
}
