import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import type { ServerProcess } from "../server-process.ts";

/** `durable`: on disk before the ack. `default`: as it comes, with a directory and a port and nothing else. */
export type Promised = "durable" | "default";

/** A system to measure: where its server is, and what a client of it does. */
export interface Peer {
  /** One word, for the command line. */
  readonly name: string;
  /** How its server is had where it isn't there. */
  readonly remedy: string;
  /** Its server, in one of these folders; undefined where it isn't there. */
  find(folders: readonly string[]): Promise<FoundServer | undefined>;
  /** Connects through the client that its users on Node have. */
  connect(address: string): Promise<PeerClient>;
}

export interface FoundServer {
  /** With its version, and what makes it durable. */
  describe(promised: Promised): string;
  start(directory: string, promised: Promised): Promise<ServerProcess>;
}

/** The same few acts on each of them. What the client's users would write, with no tricks. */
export interface PeerClient {
  createTopic(topic: string): Promise<void>;
  removeTopic(topic: string): Promise<void>;
  /** Resolves when the record is acknowledged. */
  send(topic: string, value: Buffer): Promise<unknown>;
  /** Resolves when all are acknowledged, at a lower cost than one by one. Absent where the client has nothing of the kind. */
  sendBatch?(topic: string, values: readonly Buffer[]): Promise<unknown>;
  /** Reads the first `count` records from the beginning. */
  read(topic: string, count: number, progress: ReadProgress): Promise<void>;
  close(): Promise<void>;
}

export interface ReadProgress {
  /** All is joined and looked up, and the first record is about to be asked for: the clock runs from here on. */
  readonly begins: () => void;
  /** So many more came. */
  readonly took: (count: number) => void;
}

/** The program of that name in one of the folders. */
export function findProgram(name: string, folders: readonly string[]): string | undefined {
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

/** Where servers are looked for: in the folder named, and in what the system starts programs from. */
export function listFolders(named: string | undefined): string[] {
  const system = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  return named === undefined ? system : [named, join(named, "bin"), ...system];
}

/** A client's package, installed beside this file and nowhere else, so that no compiler and no user of ours needs it. */
export async function importClient<Module>(name: string): Promise<Module> {
  return (await import(name)) as Module;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
