import { readTokenFile } from "../../base/bearer-token.ts";
import type { Clock } from "../../base/clock.ts";
import { catalogRetryMaxMs } from "../../base/cluster-limits.ts";
import { type Disk, systemErrorCode } from "../../base/disk.ts";
import { isProglogError, messageOf, ProglogError } from "../../base/error.ts";
import type { Logger } from "../../base/logger.ts";
import { adminTokenMinChars, policyMaxBytes } from "../../base/security-limits.ts";
import type { PolicyStore } from "../../replica/policy-store.ts";
import { isLoopback } from "../bind-address.ts";
import type { Config } from "../config.ts";
import type { AccessAction } from "./access-action.ts";
import { AccessControl } from "./access-control.ts";
import { type AccessDocument, emptyAccessDocument, formatAccessDocument } from "./access-document.ts";
import { AuditLog } from "./audit-log.ts";
import { hashSecret } from "./bearer-token.ts";
import { readModel } from "./casbin-model.ts";
import { administratorsOf } from "./lockout.ts";
import { checkIssuerUrl, fetchIssuerKeys, IssuerKeys } from "./issuer-keys.ts";
import { SignedTokens } from "./signed-tokens.ts";
import { readPolicyFile } from "./policy-file.ts";

/** Access control of a node, and where it is written down. */
export interface OpenedAccess {
  readonly access: AccessControl;
  readonly audit: AuditLog;
  /** Twice is fine. */
  close(): Promise<void>;
}

/** As configured. Files are read once, here. Throws INVALID_CONFIG for one that is missing, wrong, or readable by others. */
export async function openAccessControl(config: Config, options: OpenAccessOptions): Promise<OpenedAccess> {
  const { store, disk, clock, logger, onDenied, onBadToken } = options;
  const seed = await readSeed(config, disk);
  const audit = new AuditLog({ disk, directory: config.dataDir, clock, logger });
  const seeding = new Seeding(seed, { store, clock, logger });
  const access = new AccessControl({
    ...{ store, clock, logger, audit },
    isLoopbackOnly: isLoopback(config.bindAddr),
    isInsecure: config.insecure,
    adminToken: readAdminToken(config.adminTokenFile, disk),
    signedTokens: openSignedTokens(config, { disk, clock, logger }),
    isSeeding: () => seeding.isUnderWay,
    ...(onDenied === undefined ? {} : { onDenied }),
    ...(onBadToken === undefined ? {} : { onBadToken }),
  });
  await seeding.begin();
  await access.settled();
  return {
    access,
    audit,
    close: async () => {
      seeding.stop();
      access.close();
      await audit.close();
    },
  };
}

export interface OpenAccessOptions {
  readonly store: PolicyStore;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onDenied?: (action: AccessAction) => void;
  readonly onBadToken?: () => void;
}

/** Sets the policy that the files have, as soon as it is known that there is none. Whoever is first of several nodes has done it for all. */
class Seeding {
  readonly #seed: AccessDocument | undefined;
  readonly #options: Pick<OpenAccessOptions, "store" | "clock" | "logger">;
  #isDone: boolean;
  #isSetting = false;
  #stopWatching: () => void = () => {};

  constructor(seed: AccessDocument | undefined, options: Pick<OpenAccessOptions, "store" | "clock" | "logger">) {
    this.#seed = seed;
    this.#options = options;
    this.#isDone = seed === undefined;
  }

  /** There is no policy because it is about to be set. */
  get isUnderWay(): boolean {
    return !this.#isDone;
  }

  /** Resolves when it was tried, where it is known already that there is none. */
  async begin(): Promise<void> {
    if (this.#isDone) return;
    this.#stopWatching = this.#options.store.watch(() => void this.#look());
    if (this.#options.store.text === "") await this.#set();
    void this.#look();
  }

  stop(): void {
    this.#stopWatching();
    this.#isDone = true;
  }

  async #look(): Promise<void> {
    const { store, clock } = this.#options;
    if (this.#isSetting) return;
    this.#isSetting = true;
    while (!this.#isDone && store.text === "" && !(await this.#set()))
      await new Promise<void>((resolve) => void clock.setTimer(catalogRetryMaxMs, resolve));
    this.#isSetting = false;
    if (store.text !== undefined && store.text !== "") this.stop();
  }

  /** Whether that is done. */
  async #set(): Promise<boolean> {
    const { store, logger } = this.#options;
    if (this.#seed === undefined) return true;
    try {
      await store.replace("", formatAccessDocument(this.#seed));
      const { rules, roles } = this.#seed;
      logger.info({ rules: rules.length, roles: roles.length }, "the access policy was set from its file");
      if (administratorsOf(this.#seed).length === 0)
        logger.warn({}, "nobody has admin on *: the access policy can be changed with --admin-token-file only");
      return true;
    } catch (error) {
      if (isProglogError(error, "CHANGE_IN_PROGRESS")) return true;
      logger.warn({ reason: messageOf(error) }, "the access policy can't be set from its file yet");
      return false;
    }
  }
}

async function readSeed({ aclModelFile, aclPolicyFile }: Config, disk: Disk): Promise<AccessDocument | undefined> {
  if (aclPolicyFile === null) {
    if (aclModelFile === null) return undefined;
    throw new ProglogError("INVALID_CONFIG", "Cannot use --acl-model-file alone: there is no policy for it", {
      hint: "Name one with --acl-policy-file.",
    });
  }
  const model = aclModelFile === null ? undefined : await readModel(readText(disk, aclModelFile, "--acl-model-file"));
  const { rules, roles } = readPolicyFile(readText(disk, aclPolicyFile, "--acl-policy-file"));
  if (rules.length === 0)
    throw new ProglogError("INVALID_CONFIG", `Cannot use --acl-policy-file ${aclPolicyFile}: it has no rule`);
  const seed = { ...emptyAccessDocument, revision: 1, isOn: true, ...(model === undefined ? {} : { model }), rules, roles };
  formatAccessDocument(seed);
  return seed;
}

/** Undefined where no identity provider is named. Its keys are had when they are needed first. */
function openSignedTokens(
  { oidcIssuer: issuer, oidcAudience: audience, oidcKeysFile, oidcNameClaim: nameClaim }: Config,
  { disk, clock, logger }: Pick<OpenAccessOptions, "disk" | "clock" | "logger">,
): SignedTokens | undefined {
  const refuse = (flag: string, reason: string): ProglogError =>
    new ProglogError("INVALID_CONFIG", `Cannot use ${flag}: ${reason}`, {
      hint: "--oidc-issuer and --oidc-audience go together.",
    });
  if (issuer === null) {
    if (audience !== null) throw refuse("--oidc-audience", "no issuer of tokens is named");
    if (oidcKeysFile !== null) throw refuse("--oidc-keys-file", "no issuer of tokens is named");
    return undefined;
  }
  if (audience === null) throw refuse("--oidc-issuer", "tokens for anybody else would be taken, too");
  const readFile = async (path: string): Promise<string> => readText(disk, path, "--oidc-keys-file");
  if (oidcKeysFile === null) checkIssuerUrl(issuer);
  else readText(disk, oidcKeysFile, "--oidc-keys-file");
  const read = (): Promise<string> => (oidcKeysFile === null ? fetchIssuerKeys(issuer) : readFile(oidcKeysFile));
  return new SignedTokens({ issuer, audience, nameClaim, clock, keys: new IssuerKeys({ read, clock, logger }) });
}

function readAdminToken(path: string | null, disk: Disk): string | undefined {
  if (path === null) return undefined;
  const token = readTokenFile(disk, path, "--admin-token-file");
  if (token.length < adminTokenMinChars)
    throw new ProglogError("INVALID_CONFIG", `Cannot use --admin-token-file ${path}: its token is too short`, {
      hint: `It has ${adminTokenMinChars} characters or more, as from: openssl rand -hex 32.`,
    });
  return hashSecret(token);
}

/** `flag` is for the error only. */
function readText(disk: Disk, path: string, flag: string): string {
  try {
    const file = disk.open(path, "read");
    try {
      const size = file.size();
      if (size > policyMaxBytes)
        throw new ProglogError(
          "INVALID_CONFIG",
          `Cannot use ${flag} ${path}: it has ${size} bytes, and ${policyMaxBytes} are read`,
        );
      const bytes = Buffer.alloc(size);
      return bytes.subarray(0, file.readSync(bytes, 0)).toString();
    } finally {
      file.close();
    }
  } catch (error) {
    if (isProglogError(error)) throw error;
    const reason = systemErrorCode(error) === "ENOENT" ? "there is no such file" : messageOf(error);
    throw new ProglogError("INVALID_CONFIG", `Cannot use ${flag} ${path}: ${reason}`, { cause: error });
  }
}
