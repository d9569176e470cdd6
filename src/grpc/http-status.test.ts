import assert from "node:assert/strict";
import { constants } from "node:http2";
import { describe, test } from "node:test";
import { statusOfHttpStatus, statusOfReset } from "./http-status.ts";

describe("an answer without a gRPC status", () => {
  test("is mapped by its HTTP status", () => {
    const cases = {
      400: "INTERNAL",
      401: "UNAUTHENTICATED",
      403: "PERMISSION_DENIED",
      404: "UNIMPLEMENTED",
      429: "UNAVAILABLE",
      502: "UNAVAILABLE",
      503: "UNAVAILABLE",
      504: "UNAVAILABLE",
      200: "UNKNOWN",
      301: "UNKNOWN",
      418: "UNKNOWN",
      500: "UNKNOWN",
    };
    for (const [httpStatus, status] of Object.entries(cases)) assert.equal(statusOfHttpStatus(Number(httpStatus)), status);
  });

  test("is mapped by the code of its stream's reset", () => {
    const cases: readonly (readonly [number, string])[] = [
      [constants.NGHTTP2_NO_ERROR, "INTERNAL"],
      [constants.NGHTTP2_PROTOCOL_ERROR, "INTERNAL"],
      [constants.NGHTTP2_INTERNAL_ERROR, "INTERNAL"],
      [constants.NGHTTP2_FLOW_CONTROL_ERROR, "INTERNAL"],
      [constants.NGHTTP2_SETTINGS_TIMEOUT, "INTERNAL"],
      [constants.NGHTTP2_FRAME_SIZE_ERROR, "INTERNAL"],
      [constants.NGHTTP2_REFUSED_STREAM, "UNAVAILABLE"],
      [constants.NGHTTP2_CANCEL, "CANCELLED"],
      [constants.NGHTTP2_COMPRESSION_ERROR, "INTERNAL"],
      [constants.NGHTTP2_CONNECT_ERROR, "INTERNAL"],
      [constants.NGHTTP2_ENHANCE_YOUR_CALM, "RESOURCE_EXHAUSTED"],
      [constants.NGHTTP2_INADEQUATE_SECURITY, "PERMISSION_DENIED"],
      [constants.NGHTTP2_STREAM_CLOSED, "UNKNOWN"],
    ];
    for (const [code, status] of cases) assert.equal(statusOfReset(code), status, String(code));
  });
});
