import {
  type AccessGrant,
  type CreatedToken,
  decodeCreateTokenResponse,
  decodePolicyResponse,
  decodeTestPolicyResponse,
  encodeChangePolicyRequest,
  encodeCreateTokenRequest,
  encodeRevokeTokenRequest,
  encodeTestPolicyRequest,
  type PolicyDescription,
  type TestPolicyRequest,
  type TestPolicyResult,
} from "../wire/access-message.ts";
import { emptyMessage } from "../wire/topic-message.ts";

/**
 * Who may do what, and the tokens by which callers say who they are: `client.access`. Any node answers for all. Each call asks for `admin` on
 * `*`, and nothing is tried again by itself.
 *
 * ```ts
 * const { token } = await client.access.createToken("alice");
 * await client.access.change({ add: [{ subject: "alice", resource: "orders-*", action: "produce" }] });
 * ```
 */
export class Access {
  readonly #call: Ask;

  constructor(call: Ask) {
    this.#call = call;
  }

  /** Rules, roles and tokens, without the tokens' secrets. */
  async describe(): Promise<PolicyDescription> {
    return decodePolicyResponse(await this.#call("/log.v1.Access/GetPolicy", emptyMessage, true));
  }

  /**
   * Adds and takes away, all or nothing, and returns what there is then. What is there already is added without an error. Throws
   * INVALID_ARGUMENT for what is taken away and isn't there, and when nobody would have `admin` on `*` any more, unless `force`.
   */
  async change({ add = [], remove = [], force = false }: AccessChange): Promise<PolicyDescription> {
    const request = { add: add.map(wholeGrant), remove: remove.map(wholeGrant), force };
    return decodePolicyResponse(await this.#call("/log.v1.Access/ChangePolicy", encodeChangePolicyRequest(request)));
  }

  /** What would be decided. */
  async test(question: TestPolicyRequest): Promise<TestPolicyResult> {
    return decodeTestPolicyResponse(await this.#call("/log.v1.Access/TestPolicy", encodeTestPolicyRequest(question), true));
  }

  /** Its `token` is in this answer, and nowhere else ever again. `expiresAt` in milliseconds since 1970; default: never. */
  async createToken(name: string, { expiresAt = 0 }: { readonly expiresAt?: number } = {}): Promise<CreatedToken> {
    const answer = await this.#call("/log.v1.Access/CreateToken", encodeCreateTokenRequest({ name, expiresAt }));
    return decodeCreateTokenResponse(answer);
  }

  /** Ends what was opened with it, too. Throws INVALID_ARGUMENT for one that isn't there, and for the client's own unless `force`. */
  async revokeToken(id: string, { force = false }: { readonly force?: boolean } = {}): Promise<void> {
    await this.#call("/log.v1.Access/RevokeToken", encodeRevokeTokenRequest({ id, force }));
  }
}

export interface AccessChange {
  readonly add?: readonly Grant[];
  readonly remove?: readonly Grant[];
  readonly force?: boolean;
}

/** A rule, `{ subject, resource, action }`, or a role that somebody has, `{ subject, role }`. */
export type Grant = Pick<AccessGrant, "subject"> & Partial<Omit<AccessGrant, "subject">>;

/** Asks any node. */
type Ask = (method: string, request: Buffer, isRead?: boolean) => Promise<Buffer>;

function wholeGrant({ subject, resource = "", action = "", role = "" }: Grant): AccessGrant {
  return { subject, resource, action, role };
}
