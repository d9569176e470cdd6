import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type AccessGrant as GeneratedGrant,
  ChangePolicyRequestSchema,
  CreateTokenRequestSchema,
  CreateTokenResponseSchema,
  GetPolicyResponseSchema,
  RevokeTokenRequestSchema,
  TestPolicyRequestSchema,
  TestPolicyResponseSchema,
} from "./gen/log/v1/log_pb.ts";
import { bytesOf, reading, toNumber } from "./topic-message.ts";

/** The messages of `log.v1.Access`, both ways, by generated code: they are rare. What can't be read is INVALID_ARGUMENT. */
export interface PolicyDescription {
  /** Counts up with each change; 0 where there is no policy. */
  readonly revision: number;
  /** What no rule allows is denied. */
  readonly isOn: boolean;
  /** Of casbin; "" where subject, resource and action are compared. */
  readonly model: string;
  readonly grants: readonly AccessGrant[];
  readonly tokens: readonly TokenDescription[];
}

/** A rule, whose `role` is "", or a role that somebody has. */
export interface AccessGrant {
  readonly subject: string;
  readonly resource: string;
  readonly action: string;
  readonly role: string;
}

export interface TokenDescription {
  readonly id: string;
  /** The principal that shows it. */
  readonly name: string;
  readonly createdAt: number;
  /** 0: never. */
  readonly expiresAt: number;
}

export interface CreatedToken extends TokenDescription {
  /** With its secret. */
  readonly token: string;
}

export interface ChangePolicyRequest {
  readonly add: readonly AccessGrant[];
  readonly remove: readonly AccessGrant[];
  readonly force: boolean;
}

export interface TestPolicyRequest {
  readonly subject: string;
  readonly resource: string;
  readonly action: string;
}

export interface TestPolicyResult {
  readonly isPermitted: boolean;
  /** False: there is no rule yet, so it is asked of nobody. */
  readonly isOn: boolean;
}

export interface CreateTokenRequest {
  readonly name: string;
  /** 0: never. */
  readonly expiresAt: number;
}

export interface RevokeTokenRequest {
  readonly id: string;
  readonly force: boolean;
}

export function encodePolicyResponse({ revision, isOn, model, grants, tokens }: PolicyDescription): Buffer {
  const init = {
    revision: BigInt(revision),
    isOn,
    model,
    grants: grants.map((grant) => ({ ...grant })),
    tokens: tokens.map(({ id, name, createdAt, expiresAt }) => {
      return { id, name, createdAt: BigInt(createdAt), expiresAt: BigInt(expiresAt) };
    }),
  };
  return bytesOf(toBinary(GetPolicyResponseSchema, create(GetPolicyResponseSchema, init)));
}

export function decodePolicyResponse(bytes: Buffer): PolicyDescription {
  return reading("GetPolicyResponse", () => {
    const { revision, isOn, model, grants, tokens } = fromBinary(GetPolicyResponseSchema, bytes);
    return {
      revision: toNumber(revision),
      isOn,
      model,
      grants: grants.map(grantFromGenerated),
      tokens: tokens.map(({ id, name, createdAt, expiresAt }) => {
        return { id, name, createdAt: toNumber(createdAt), expiresAt: toNumber(expiresAt) };
      }),
    };
  });
}

export function encodeChangePolicyRequest({ add, remove, force }: ChangePolicyRequest): Buffer {
  const init = { add: add.map((grant) => ({ ...grant })), remove: remove.map((grant) => ({ ...grant })), force };
  return bytesOf(toBinary(ChangePolicyRequestSchema, create(ChangePolicyRequestSchema, init)));
}

export function decodeChangePolicyRequest(bytes: Buffer): ChangePolicyRequest {
  const { add, remove, force } = reading("ChangePolicyRequest", () => fromBinary(ChangePolicyRequestSchema, bytes));
  return { add: add.map(grantFromGenerated), remove: remove.map(grantFromGenerated), force };
}

export function encodeTestPolicyRequest(request: TestPolicyRequest): Buffer {
  return bytesOf(toBinary(TestPolicyRequestSchema, create(TestPolicyRequestSchema, { ...request })));
}

export function decodeTestPolicyRequest(bytes: Buffer): TestPolicyRequest {
  const { subject, resource, action } = reading("TestPolicyRequest", () => fromBinary(TestPolicyRequestSchema, bytes));
  return { subject, resource, action };
}

export function encodeTestPolicyResponse(result: TestPolicyResult): Buffer {
  return bytesOf(toBinary(TestPolicyResponseSchema, create(TestPolicyResponseSchema, { ...result })));
}

export function decodeTestPolicyResponse(bytes: Buffer): TestPolicyResult {
  const { isPermitted, isOn } = reading("TestPolicyResponse", () => fromBinary(TestPolicyResponseSchema, bytes));
  return { isPermitted, isOn };
}

export function encodeCreateTokenRequest({ name, expiresAt }: CreateTokenRequest): Buffer {
  const init = { name, expiresAt: BigInt(expiresAt) };
  return bytesOf(toBinary(CreateTokenRequestSchema, create(CreateTokenRequestSchema, init)));
}

export function decodeCreateTokenRequest(bytes: Buffer): CreateTokenRequest {
  return reading("CreateTokenRequest", () => {
    const { name, expiresAt } = fromBinary(CreateTokenRequestSchema, bytes);
    return { name, expiresAt: toNumber(expiresAt) };
  });
}

export function encodeCreateTokenResponse({ createdAt, expiresAt, ...rest }: CreatedToken): Buffer {
  const init = { ...rest, createdAt: BigInt(createdAt), expiresAt: BigInt(expiresAt) };
  return bytesOf(toBinary(CreateTokenResponseSchema, create(CreateTokenResponseSchema, init)));
}

export function decodeCreateTokenResponse(bytes: Buffer): CreatedToken {
  return reading("CreateTokenResponse", () => {
    const { id, token, name, createdAt, expiresAt } = fromBinary(CreateTokenResponseSchema, bytes);
    return { id, token, name, createdAt: toNumber(createdAt), expiresAt: toNumber(expiresAt) };
  });
}

export function encodeRevokeTokenRequest(request: RevokeTokenRequest): Buffer {
  return bytesOf(toBinary(RevokeTokenRequestSchema, create(RevokeTokenRequestSchema, { ...request })));
}

export function decodeRevokeTokenRequest(bytes: Buffer): RevokeTokenRequest {
  const { id, force } = reading("RevokeTokenRequest", () => fromBinary(RevokeTokenRequestSchema, bytes));
  return { id, force };
}

function grantFromGenerated({ subject, resource, action, role }: GeneratedGrant): AccessGrant {
  return { subject, resource, action, role };
}
