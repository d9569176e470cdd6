import { createHash } from "node:crypto";
import type { Duplex } from "node:stream";
import type { Clock, Timer } from "../../base/clock.ts";
import { isProglogError, messageOf, ProglogError } from "../../base/error.ts";
import type { Logger } from "../../base/logger.ts";
import { tokenSweepMs } from "../../base/security-limits.ts";
import type { PolicyStore } from "../../replica/policy-store.ts";
import { isLoopback } from "../bind-address.ts";
import { principalOf } from "../principal.ts";
import type { AccessAction } from "./access-action.ts";
import { type AccessDocument, parseAccessDocument } from "./access-document.ts";
import { AccessJudge } from "./access-judge.ts";
import type { AuditLog } from "./audit-log.ts";
import { bearerOf, hashSecret, isSameHash, parseToken } from "./bearer-token.ts";
import { type Caller, subjectOf } from "./caller.ts";
import { openModel } from "./casbin-model.ts";
import { FailedTokens } from "./failed-tokens.ts";
import { isSignedToken, type SignedIdentity, type SignedTokens } from "./signed-tokens.ts";

/** What services ask before they touch anything for somebody. */
export interface Access {
  /** Throws PERMISSION_DENIED, UNAUTHENTICATED for who showed nothing or has a token that is none any more, or UNAVAILABLE. */
  check(caller: Caller, action: AccessAction, resource: string): void;
  /** Whether the caller is somebody: has any rule at all. Throws as `check`. */
  checkKnown(caller: Caller, action: AccessAction): void;
  /** The same as `check` as an answer, of which nobody is told. */
  permits(caller: Caller, action: AccessAction, resource: string): boolean;
  /**
   * Watches over what lasts: when the policy changes, or a token's time is over, `check` is called again, and where it throws, `end` with what it
   * threw, once. Returns how to stop that.
   */
  hold(caller: Caller, check: () => void, end: (error: ProglogError) => void): () => void;
}

/**
 * Who asks, and what they may do, by the policy that there is (docs/security.md). It follows the policy as it changes. By one that it can't read
 * nobody may do anything, and what isn't known yet is answered UNAVAILABLE.
 */
export class AccessControl implements Access {
  readonly #options: AccessControlOptions;
  /** Who shows no token is whom its connection names, with each request. */
  readonly #bySocket = new WeakMap<Duplex, Caller>();
  readonly #failed: FailedTokens;
  readonly #holds = new Set<Hold>();
  readonly #stopWatching: () => void;
  #state: AccessState = { kind: "unknown" };
  #text: string | undefined;
  /** Of the model of casbin that is being loaded. */
  #loading: Promise<void> | undefined;
  #sweeping: Timer | undefined;
  #isClosed = false;

  constructor(options: AccessControlOptions) {
    this.#options = options;
    this.#failed = new FailedTokens(options.clock);
    this.#stopWatching = options.store.watch(() => this.#follow());
    this.#follow();
  }

  /** Resolves when it goes by what is known of the policy at the moment. */
  async settled(): Promise<void> {
    while (this.#loading !== undefined) await this.#loading;
  }

  get isOn(): boolean {
    return this.#state.kind === "on";
  }

  /** The judge in force, where rules are. */
  get judge(): AccessJudge | undefined {
    return this.#state.kind === "on" ? this.#state.judge : undefined;
  }

  /** Streams and the like that are watched over. */
  get heldCount(): number {
    return this.#holds.size;
  }

  /**
   * Who makes a request. Throws UNAUTHENTICATED for a token that is none: whoever hears of it waits for `heldUp` first.
   * `authorization` are the values of the header: one, or none. A promise is for a signed token that isn't known yet.
   */
  identify({ socket, authorization }: Credentials): Caller | Promise<Caller> {
    if (authorization.length > 0) return this.#identifyToken(socket, authorization);
    const known = socket === undefined ? undefined : this.#bySocket.get(socket);
    if (known !== undefined) return known;
    const principal = socket === undefined ? unknownPrincipal : principalOf(socket);
    const caller: Caller = { principal, ...this.#originOf(socket), isAdmin: false };
    if (socket !== undefined) this.#bySocket.set(socket, caller);
    return caller;
  }

  #originOf(socket: Duplex | undefined): Pick<Caller, "address" | "isLocal"> {
    const address = addressOf(socket);
    const isLocal = this.#options.isLoopbackOnly || (address !== "" && isLoopback(address.replace(/^::ffff:/, "")));
    return { address, isLocal };
  }

  #identifyToken(socket: Duplex | undefined, authorization: readonly string[]): Caller | Promise<Caller> {
    const from = this.#originOf(socket);
    const { address } = from;
    const token = authorization.length > 1 ? null : bearerOf(authorization[0]);
    if (typeof token !== "string") throw this.#badToken(from.address, "the authorization is no bearer token");
    if (this.#isAdminToken(token)) {
      return { principal: { kind: "token", name: adminTokenName }, ...from, isAdmin: true };
    }
    const { signedTokens } = this.#options;
    if (signedTokens !== undefined && isSignedToken(token)) {
      const known = signedTokens.find(token);
      const toCaller = ({ name, expiresAt }: SignedIdentity): Caller => {
        return { principal: { kind: "signed-token", name }, ...from, isAdmin: false, expiresAt };
      };
      return known === undefined ? this.#verify(signedTokens, token, address).then(toCaller) : toCaller(known);
    }
    const { id, secret } = parseToken(token) ?? {};
    if (id === undefined || secret === undefined) throw this.#badToken(address, "it isn't one that proglog makes");
    if (this.#state.kind === "unknown") throw unknownYet();
    const entry = this.#findToken(id);
    // Also of an id that isn't there a hash is compared, so that the time doesn't tell which there are.
    const isRight = isSameHash(hashSecret(secret), entry?.hash ?? noHash);
    if (entry === undefined || !isRight) throw this.#badToken(address, "it is unknown, or revoked");
    if (this.#isOver(entry.expiresAt)) throw this.#badToken(address, "its time is over");
    return { principal: { kind: "token", name: entry.name }, ...from, isAdmin: false, tokenId: id };
  }

  async #verify(signedTokens: SignedTokens, token: string, address: string): Promise<SignedIdentity> {
    const found = await signedTokens.verify(token);
    if (typeof found === "string") throw this.#badToken(address, found);
    return found;
  }

  /** What came with a wrong token is answered a while later. */
  async heldUp(socket: Duplex | undefined): Promise<void> {
    await this.#failed.hold(addressOf(socket));
  }

  check(caller: Caller, action: AccessAction, resource: string): void {
    const error = this.#findFault(caller, action, resource);
    if (error === undefined) return;
    this.#noteDenial(caller, { action, resource }, error);
    throw error;
  }

  permits(caller: Caller, action: AccessAction, resource: string): boolean {
    return this.#findFault(caller, action, resource) === undefined;
  }

  /** Whether anything is known of who may do what. */
  get isKnown(): boolean {
    return this.#state.kind !== "unknown";
  }

  checkKnown(caller: Caller, action: AccessAction): void {
    const error = this.#findStranger(caller) ?? this.#findUnruled(caller, action);
    if (error === undefined) return;
    this.#noteDenial(caller, { action, resource: "*" }, error);
    throw error;
  }

  hold(caller: Caller, check: () => void, end: (error: ProglogError) => void): () => void {
    const hold: Hold = { check, end };
    this.#holds.add(hold);
    if (caller.tokenId !== undefined || caller.expiresAt !== undefined) this.#sweep();
    return () => void this.#holds.delete(hold);
  }

  /** Nobody is watched over any more. Twice is fine. */
  close(): void {
    this.#isClosed = true;
    this.#stopWatching();
    this.#sweeping?.cancel();
    this.#holds.clear();
  }

  /** What the policy says, as it is in force here. Throws UNSUPPORTED_FORMAT, or UNAVAILABLE. */
  document(): AccessDocument {
    const { text } = this.#options.store;
    if (text === undefined) throw unknownYet();
    return parseAccessDocument(text);
  }

  #findFault(caller: Caller, action: AccessAction, resource: string): ProglogError | undefined {
    const stranger = this.#findStranger(caller);
    if (stranger !== undefined || caller.isAdmin || this.#state.kind !== "on") return stranger;
    const subject = subjectOf(caller);
    return this.#state.judge.permits(subject, action, resource) ? undefined : denied(caller, action, resource);
  }

  #findUnruled(caller: Caller, action: AccessAction): ProglogError | undefined {
    if (caller.isAdmin || this.#state.kind !== "on") return undefined;
    return this.#state.judge.knows(subjectOf(caller)) ? undefined : denied(caller, action, "*");
  }

  /** What is wrong with who asks, whatever for. */
  #findStranger(caller: Caller): ProglogError | undefined {
    const state = this.#state;
    if (caller.isAdmin) return undefined;
    if (state.kind === "unknown") return unknownYet();
    if (state.kind === "unreadable") return state.error;
    if (caller.tokenId !== undefined) {
      const entry = this.#findToken(caller.tokenId);
      if (entry === undefined || this.#isOver(entry.expiresAt))
        return unauthenticated("its token is revoked, or its time is over");
      return undefined;
    }
    if (this.#isOver(caller.expiresAt)) return unauthenticated("its token's time is over");
    if (state.kind === "on") return undefined;
    // Whoever an identity provider knows isn't yet somebody here.
    if (caller.isLocal || this.#options.isInsecure || caller.principal.kind === "certificate") return undefined;
    return unauthenticated("this node has no access policy yet, and answers callers of its own machine only", {
      hint: "Show a certificate; or set a policy, on the node's machine or with --acl-policy-file (docs/security.md).",
    });
  }

  #findToken(id: string) {
    if (this.#state.kind === "on") return this.#state.tokens.get(id);
    return this.#state.kind === "off" ? this.#state.tokens.get(id) : undefined;
  }

  #isOver(expiresAt: number | undefined): boolean {
    return expiresAt !== undefined && this.#options.clock.now() >= expiresAt;
  }

  #isAdminToken(token: string): boolean {
    const { adminToken } = this.#options;
    return adminToken !== undefined && isSameHash(hashSecret(token), adminToken);
  }

  #badToken(address: string, reason: string): ProglogError {
    const error = unauthenticated(reason);
    const who = { principal: "", kind: "token", address };
    this.#options.audit?.denied({ event: "bad-token", ...who, action: "", resource: "", outcome: error.code });
    this.#options.onBadToken?.();
    return error;
  }

  #noteDenial(caller: Caller, what: { readonly action: AccessAction; readonly resource: string }, error: ProglogError): void {
    if (error.code !== "PERMISSION_DENIED" && error.code !== "UNAUTHENTICATED") return;
    const { principal, address } = caller;
    const resource = what.resource.slice(0, 256);
    const who = { principal: subjectOf(caller), kind: principal.kind, address };
    this.#options.audit?.denied({ event: "denied", ...who, action: what.action, resource, outcome: error.code });
    this.#options.onDenied?.(what.action);
  }

  #follow(): void {
    const { store, isSeeding } = this.#options;
    const known = store.text;
    // Before the seed is there, there is none yet.
    const text = known === "" && isSeeding?.() === true ? undefined : known;
    if (text === this.#text && this.#state.kind !== "unknown") return;
    this.#text = text;
    if (text === undefined) return this.#take({ kind: "unknown" });
    let document: AccessDocument;
    try {
      document = parseAccessDocument(text);
    } catch (error) {
      this.#options.logger.error({ reason: messageOf(error) }, "the access policy can't be read: nobody may do anything");
      const unreadable = isProglogError(error) ? error : new ProglogError("INTERNAL", "Cannot read the access policy");
      return this.#take({ kind: "unreadable", error: unreadable });
    }
    const tokens = new Map(document.tokens.map((entry) => [entry.id, entry]));
    if (!document.isOn) return this.#take({ kind: "off", tokens });
    if (document.model === undefined) return this.#take({ kind: "on", judge: new AccessJudge(document), tokens });
    // What was open before there were rules isn't open while they are being read.
    if (this.#state.kind !== "on") this.#take({ kind: "unknown" });
    this.#loading ??= this.#load().finally(() => {
      this.#loading = undefined;
    });
  }

  /** By a model of casbin; until it is there, by what was before. */
  async #load(): Promise<void> {
    for (let text: string | undefined; text !== this.#text; ) {
      text = this.#text;
      if (text === undefined) return;
      const document = parseAccessDocument(text);
      const { model = "" } = document;
      try {
        const matcher = await openModel(model, document);
        const tokens = new Map(document.tokens.map((entry) => [entry.id, entry]));
        if (text === this.#text) this.#take({ kind: "on", judge: new AccessJudge(document, matcher), tokens });
      } catch (error) {
        this.#options.logger.error({ reason: messageOf(error) }, "the access model can't be used: nobody may do anything");
        const unusable = new ProglogError("INVALID_CONFIG", "Cannot go by the access policy: its model can't be used");
        if (text === this.#text) this.#take({ kind: "unreadable", error: unusable });
      }
    }
  }

  #take(state: AccessState): void {
    if (this.#isClosed) return;
    this.#state = state;
    // What isn't known for a while ends nothing: it was decided when it was known.
    if (state.kind !== "unknown") this.#checkHolds();
  }

  #checkHolds(): void {
    for (const hold of [...this.#holds]) {
      try {
        hold.check();
      } catch (error) {
        this.#holds.delete(hold);
        hold.end(
          isProglogError(error) ? error : new ProglogError("INTERNAL", "Cannot go on: a check failed", { cause: error }),
        );
      }
    }
  }

  /** Once a second, as long as there are streams of tokens: their times are over without a change of the policy. */
  #sweep(): void {
    this.#sweeping ??= this.#options.clock.setTimer(tokenSweepMs, () => {
      this.#sweeping = undefined;
      if (this.#holds.size === 0 || this.#isClosed) return;
      this.#checkHolds();
      this.#sweep();
    });
  }
}

export interface Credentials {
  readonly socket: Duplex | undefined;
  readonly authorization: readonly string[];
}

export interface AccessControlOptions {
  readonly store: PolicyStore;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Everybody who gets to the node is on its machine. */
  readonly isLoopbackOnly: boolean;
  /** `--insecure`. */
  readonly isInsecure: boolean;
  /** SHA-256 of the token of `--admin-token-file`, as hex digits. */
  readonly adminToken?: string | undefined;
  /** The policy is about to be set from files. */
  readonly isSeeding?: () => boolean;
  /** Where tokens of an identity provider are taken. */
  readonly signedTokens?: SignedTokens | undefined;
  readonly audit?: AuditLog;
  readonly onDenied?: (action: AccessAction) => void;
  readonly onBadToken?: () => void;
}

/** Everything is permitted: for tests of services. */
export const openAccess: Access = { check: () => {}, checkKnown: () => {}, permits: () => true, hold: () => () => {} };

/** Of the token of `--admin-token-file`. */
export const adminTokenName = "admin-token-file";

type Tokens = ReadonlyMap<string, AccessDocument["tokens"][number]>;

type AccessState =
  | { readonly kind: "unknown" }
  /** There is no rule, and never was. */
  | { readonly kind: "off"; readonly tokens: Tokens }
  | { readonly kind: "on"; readonly judge: AccessJudge; readonly tokens: Tokens }
  | { readonly kind: "unreadable"; readonly error: ProglogError };

interface Hold {
  readonly check: () => void;
  readonly end: (error: ProglogError) => void;
}

const unknownPrincipal = { kind: "anonymous", name: "" } as const;
const noHash = createHash("sha256").update("").digest("hex");

function addressOf(socket: Duplex | undefined): string {
  return socket !== undefined && "remoteAddress" in socket && typeof socket.remoteAddress === "string"
    ? socket.remoteAddress
    : "";
}

/** Whether or not there is what it asked for. */
function denied(caller: Caller, action: AccessAction, resource: string): ProglogError {
  if (caller.principal.kind === "anonymous")
    return unauthenticated("nobody may do that without saying who they are", {
      hint: "Show a token (authorization: Bearer …) or a certificate.",
    });
  const text = `${subjectOf(caller)} not permitted to ${action} to ${resource.slice(0, 249)}`;
  return new ProglogError("PERMISSION_DENIED", text, { hint: "Ask who administers the node for a rule (proglog acl add)." });
}

function unauthenticated(reason: string, { hint }: { readonly hint?: string } = {}): ProglogError {
  return new ProglogError("UNAUTHENTICATED", `Cannot tell who asks: ${reason}`, {
    hint: hint ?? "Show a token that is in force (proglog tokens create).",
  });
}

function unknownYet(): ProglogError {
  return new ProglogError("UNAVAILABLE", "Cannot say who may do that: this node hasn't heard from its cluster yet", {
    hint: "Come back: it waits for most of the nodes that keep the catalog.",
    details: { outcome: "not-appended" },
  });
}
