import { ProglogError } from "../base/error.ts";
import { peerHelloMaxBytes } from "../base/cluster-limits.ts";
import { PeerReader } from "./peer-reader.ts";
import { PeerWriter } from "./peer-writer.ts";

/**
 * What both ends say first (docs/peer-protocol.md). Its layout stays what it is in all versions, so that two that don't understand each
 * other can at least say so; a later version may add fields behind its end, which this one passes over.
 *
 *     0         2        4         5      13            21
 *     ┌─────────┬────────┬─────────┬──────┬─────────────┬──────────────────────────────────────────────┐
 *     │ version │ oldest │ purpose │ life │ bootCounter │ cluster id, node name, storage id, address   │
 *     └─────────┴────────┴─────────┴──────┴─────────────┴──────────────────────────────────────────────┘
 *                                                          each: u16 length, UTF-8
 */
export interface PeerHello {
  /** The newest version of the protocol that it speaks, and the oldest. */
  readonly version: number;
  readonly oldestVersion: number;
  /** `messages`: the one connection on which the opener sends. `questions`: asks and hears answers, nothing else. */
  readonly purpose: PeerPurpose;
  /** Eight random bytes of the process, in hex: tells a node that meets itself, and two that run on copies of one directory. */
  readonly life: string;
  readonly bootCounter: number;
  /** Undefined before there is a cluster. */
  readonly clusterId: string | undefined;
  readonly nodeId: string;
  readonly storageId: string;
  readonly address: string;
}

export type PeerPurpose = (typeof purposes)[number];

const purposes = ["messages", "questions"] as const;

export const peerVersion = 1;

const fixedBytes = 21;
const lifeBytes = 8;

/** Throws INVALID_ARGUMENT when names are too long to be told. */
export function encodePeerHello(hello: PeerHello): Buffer {
  const texts = [hello.clusterId ?? "", hello.nodeId, hello.storageId, hello.address].map((text) => Buffer.from(text));
  const byteLength = texts.reduce((sum, text) => sum + 2 + text.length, fixedBytes);
  if (byteLength > peerHelloMaxBytes)
    throw new ProglogError(
      "INVALID_ARGUMENT",
      `Cannot greet a peer: names and address take ${byteLength} bytes, and the limit is ${peerHelloMaxBytes}`,
    );
  const writer = new PeerWriter(byteLength);
  writer.u16(hello.version);
  writer.u16(hello.oldestVersion);
  writer.u8(purposes.indexOf(hello.purpose));
  writer.hex(hello.life);
  writer.u64(hello.bootCounter);
  for (const text of texts) {
    writer.u16(text.length);
    writer.bytes(text);
  }
  return writer.finish();
}

/** Throws PEER_REFUSED. */
export function decodePeerHello(payload: Buffer): PeerHello {
  const reader = new PeerReader(payload, "its hello");
  const version = reader.u16();
  const oldestVersion = reader.u16();
  const purpose = purposes[reader.u8()];
  if (purpose === undefined || oldestVersion > version) throw reader.refuse("it contradicts itself");
  const life = reader.bytes(lifeBytes).toString("hex");
  const bootCounter = reader.u64();
  const clusterId = reader.text(reader.u16());
  const nodeId = reader.text(reader.u16());
  const storageId = reader.text(reader.u16());
  const address = reader.text(reader.u16());
  if (nodeId === "" || storageId === "") throw reader.refuse("it has no name or no storage id");
  return {
    version,
    oldestVersion,
    purpose,
    life,
    bootCounter,
    clusterId: clusterId === "" ? undefined : clusterId,
    nodeId,
    storageId,
    address,
  };
}

/** The version that two ends speak: the newest that both know. Throws PEER_REFUSED when there is none. */
export function agreePeerVersion(
  ours: Pick<PeerHello, "version" | "oldestVersion">,
  theirs: Pick<PeerHello, "version" | "oldestVersion" | "nodeId">,
): number {
  const version = Math.min(ours.version, theirs.version);
  if (version >= ours.oldestVersion && version >= theirs.oldestVersion) return version;
  throw new ProglogError(
    "PEER_REFUSED",
    `Cannot speak with ${theirs.nodeId}: it speaks versions ${theirs.oldestVersion} to ${theirs.version} of the protocol, and this node ` +
      `${ours.oldestVersion} to ${ours.version}`,
    { hint: "Update the nodes of a cluster one release at a time.", details: { version: theirs.version } },
  );
}
