import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { file_log_v1_log } from "../src/wire/gen/log/v1/log_pb.ts";
import { grpcAccessRules, httpAccessRules } from "../src/server/access/access-rules.ts";
import { keptDocument } from "./openapi/conformance.ts";

/** Held to what the proto and the API's document have: a method or route that nobody decided about fails here. */
describe("the table of access", () => {
  const methods = file_log_v1_log.services.flatMap((service) =>
    service.methods.map((method) => ({ path: `/${service.typeName}/${method.name}`, method })),
  );
  const others = Object.keys(grpcAccessRules).filter((path) => !path.startsWith("/log.v1."));
  const document = keptDocument();
  const routes = Object.entries(document.paths).flatMap(([path, item]) =>
    Object.keys(item).map((method) => ({
      route: `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ":$1")}`,
      operation: item[method] as { readonly requestBody?: { readonly content: Readonly<Record<string, unknown>> } },
    })),
  );

  test("has each method of the proto and each route of the document, and none besides", () => {
    assert.ok(methods.length > 15 && routes.length > 20);
    assert.deepEqual(Object.keys(grpcAccessRules).toSorted(), [...methods.map(({ path }) => path), ...others].toSorted());
    assert.deepEqual(Object.keys(httpAccessRules).toSorted(), routes.map(({ route }) => route).toSorted());
  });

  test("leaves open what tells nothing of anybody's, and nothing else", () => {
    const open = Object.entries({ ...grpcAccessRules, ...httpAccessRules }).filter(([, rule]) => rule.kind === "open");
    assert.deepEqual(
      open.map(([name]) => name),
      [
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/grpc.health.v1.Health/List",
        "GET /v1/openapi.json",
        "GET /livez",
        "GET /readyz",
      ],
    );
  });

  test("asks for the topic of each message that has one, by its real field", () => {
    for (const { path, method } of methods) {
      const rule = grpcAccessRules[path];
      const named = method.input.fields.find(({ name }) => name === "topic") ?? topicNameOf(path, method.input);
      if (named === undefined) {
        assert.notEqual(rule?.kind, "topic", path);
        continue;
      }
      assert.ok(rule?.kind === "topic", `${path} names a topic`);
      const field = "field" in rule.from ? rule.from.field : "eachField" in rule.from ? rule.from.eachField : assert.fail(path);
      assert.equal(field, named.localName, path);
      assert.equal("eachField" in rule.from, method.methodKind === "bidi_streaming", path);
    }
  });

  test("asks for the topic of each path that has one, or that a body names", () => {
    for (const { route } of routes) {
      const rule = httpAccessRules[route];
      if (route.includes(":topic"))
        assert.deepEqual(rule?.kind === "topic" ? rule.from : undefined, { parameter: "topic" }, route);
      else if (rule?.kind === "topic") assert.ok(["POST /v1/topics", "POST /", "GET /"].includes(route), route);
    }
    assert.deepEqual(httpAccessRules["POST /v1/topics"], { kind: "topic", action: "admin", from: { body: "name" } });
  });
});

/** The topics' own messages call it a name. */
function topicNameOf(path: string, { fields }: (typeof file_log_v1_log.messages)[number]) {
  return path.startsWith("/log.v1.Topics/") ? fields.find(({ name }) => name === "name") : undefined;
}
