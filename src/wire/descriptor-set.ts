import { create, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { file_log_v1_log } from "./gen/log/v1/log_pb.ts";

/** What proto/ says, as a `google.protobuf.FileDescriptorSet`: for clients that ask what there is to call. */
export function encodeDescriptorSet(): Buffer {
  const bytes = toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file: [file_log_v1_log.proto] }));
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
