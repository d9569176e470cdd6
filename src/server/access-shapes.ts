import { accessActions } from "./access/access-action.ts";
import { ref } from "./schema.ts";

const name = { type: "string" };
const resource = { type: "string", description: "A topic, a prefix of topics (`orders-*`), or `*`." };
const action = { enum: accessActions };
const time = { type: "integer", minimum: 1, description: "Milliseconds since 1970." };

/** Of access, by the names that the API's document has for it: a part of `api-shapes.ts`. */
export function accessShapes() {
  return {
    AccessPolicy: {
      type: "object",
      required: ["revision", "isOn", "rules", "roles", "tokens"],
      properties: {
        revision: { type: "integer", minimum: 0, description: "Counts up with each change; 0 where there is no policy." },
        isOn: { type: "boolean", description: "What no rule allows is denied." },
        model: { ...name, description: "Of casbin; absent where subject, resource and action are compared." },
        rules: { type: "array", items: ref("AccessRule") },
        roles: { type: "array", items: ref("AccessRole") },
        tokens: { type: "array", items: ref("AccessToken") },
      },
    },
    AccessRule: {
      type: "object",
      required: ["subject", "resource", "action"],
      properties: { subject: { ...name, description: "A principal or a role." }, resource, action },
    },
    AccessRole: {
      type: "object",
      required: ["subject", "role"],
      properties: { subject: { ...name, description: "A principal or a role." }, role: name },
    },
    AccessToken: {
      type: "object",
      required: ["id", "name", "createdAt"],
      properties: {
        id: name,
        name: { ...name, description: "The principal that shows it." },
        createdAt: time,
        expiresAt: { ...time, description: "Absent: never." },
      },
    },
    NewAccessToken: {
      type: "object",
      required: ["name"],
      additionalProperties: false,
      properties: { name, expiresAt: { ...time, description: "Absent: never." } },
    },
    CreatedAccessToken: {
      type: "object",
      required: ["id", "token", "name", "createdAt"],
      properties: {
        id: name,
        token: { ...name, description: "What is sent as `Authorization: Bearer …`. Shown here, and never again." },
        name,
        createdAt: time,
        expiresAt: time,
      },
    },
    AccessChange: {
      type: "object",
      additionalProperties: false,
      properties: {
        add: { type: "array", items: ref("AccessGrant") },
        remove: { type: "array", items: ref("AccessGrant") },
        force: { type: "boolean", description: "Though nobody would have `admin` on `*` any more." },
      },
    },
    AccessGrant: {
      type: "object",
      required: ["subject"],
      additionalProperties: false,
      description: "A rule (`resource` and `action`), or a role that somebody has (`role`).",
      properties: { subject: name, resource, action, role: name },
    },
    AccessQuestion: {
      type: "object",
      required: ["subject", "resource", "action"],
      additionalProperties: false,
      properties: { subject: name, resource, action },
    },
    AccessDecision: {
      type: "object",
      required: ["isPermitted", "isOn"],
      properties: {
        isPermitted: { type: "boolean" },
        isOn: { type: "boolean", description: "False: there is no rule yet, so it is asked of nobody." },
      },
    },
  };
}
