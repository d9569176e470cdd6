import { constants } from "node:http2";
import type { StatusName } from "./status-code.ts";

/** What an answer that isn't gRPC's means, by its HTTP status: a proxy's or another server's. As gRPC's specification maps them. */
export function statusOfHttpStatus(httpStatus: number): StatusName {
  switch (httpStatus) {
    case 400:
      return "INTERNAL";
    case 401:
      return "UNAUTHENTICATED";
    case 403:
      return "PERMISSION_DENIED";
    case 404:
      return "UNIMPLEMENTED";
    case 429:
    case 502:
    case 503:
    case 504:
      return "UNAVAILABLE";
    default:
      return "UNKNOWN";
  }
}

/** What the reset of a stream without a status means, by its code. As gRPC's specification maps them. */
export function statusOfReset(resetCode: number): StatusName {
  switch (resetCode) {
    case constants.NGHTTP2_CANCEL:
      return "CANCELLED";
    case constants.NGHTTP2_REFUSED_STREAM:
      return "UNAVAILABLE";
    case constants.NGHTTP2_ENHANCE_YOUR_CALM:
      return "RESOURCE_EXHAUSTED";
    case constants.NGHTTP2_INADEQUATE_SECURITY:
      return "PERMISSION_DENIED";
    case constants.NGHTTP2_STREAM_CLOSED:
    case constants.NGHTTP2_HTTP_1_1_REQUIRED:
      return "UNKNOWN";
    default:
      return "INTERNAL";
  }
}
