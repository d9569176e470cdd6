import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { topicSettingNames } from "../src/base/topic-settings.ts";
import { buildApiDocument } from "../src/server/api-document.ts";
import { apiOperations } from "../src/server/api-operations.ts";
import { shapes } from "../src/server/api-shapes.ts";
import { errorTable } from "../src/wire/error-table.ts";
import { type ApiDocument, Conformance, type Exchange, keptDocument } from "./openapi/conformance.ts";
import { servedDocument } from "./openapi/served-document.ts";
import { repository } from "./source-code.ts";

describe("the API's document", () => {
  const document = keptDocument();
  const operations = operationsOf(document);

  test("docs/openapi.json is what a node serves", async () => {
    assert.equal(readFileSync(join(repository, "docs/openapi.json"), "utf8"), await servedDocument());
  });

  test("has every route with all that there is to say of it, and no other", () => {
    const documented = operations.map(({ route }) => route);
    assert.deepEqual(documented.toSorted(), Object.keys(apiOperations).toSorted());
    for (const { route, operation } of operations) assert(operation.summary !== "" && operation.tags.length === 1, route);
    const ids = operations.map(({ operation }) => operation.operationId);
    assert.equal(new Set(ids).size, ids.length);
  });

  test("has exactly the parameters that the routes take", () => {
    for (const { route, operation } of operations) {
      const names = (operation.parameters ?? []).filter((parameter) => parameter.in === "query").map(({ name }) => name);
      assert.deepEqual(names.toSorted(), Object.keys(apiOperations[route]?.query ?? {}).toSorted(), route);
    }
  });

  test("has a route that nothing is said of all the same, for the tests above to find", () => {
    const querystring = { properties: { x: { type: "string" } } };
    const built = buildApiDocument([{ method: "GET", url: "/v1/new/:topic", querystring, isAlwaysServed: false }], "0");
    const [{ operation, route } = assert.fail()] = operationsOf(built as unknown as ApiDocument);
    assert.equal(route, "GET /v1/new/:topic");
    assert.equal(operation.operationId, undefined);
    assert.deepEqual(
      operation.parameters?.map(({ name }) => name),
      ["topic", "x"],
    );
  });

  test("has the closed list of codes, each setting, and every shape that it refers to", () => {
    assert.deepEqual(shapes.ErrorCode.enum, Object.keys(errorTable));
    for (const shape of [shapes.TopicSettings, shapes.TopicSettingChanges, shapes.EffectiveTopicSettings])
      assert.deepEqual(Object.keys(shape.properties), topicSettingNames);
    const text = JSON.stringify(document);
    const referred = new Set([...text.matchAll(/"#\/components\/schemas\/(\w+)"/g)].map(([, name]) => name));
    assert.deepEqual(referred, new Set(Object.keys(document.components.schemas)));
  });

  test("names of each code the status that it has", () => {
    for (const { route, operation } of operations) {
      if (apiOperations[route]?.hasPlainErrors === true) continue;
      for (const code of apiOperations[route]?.errors ?? []) {
        const response = operation.responses[String(errorTable[code].http)];
        assert(response?.description.includes(`\`${code}\``), `${route} ${code}`);
      }
    }
  });
});

describe("what holds the suite's exchanges to the document", () => {
  const conformance = new Conformance(keptDocument());
  const settings = Object.fromEntries(topicSettingNames.map((name) => [name, 5_000]));
  const choices = { compression: "gzip", timestampType: "create", deepCheck: true, cleanup: "both" };
  const topic = {
    name: "a",
    uuid: "00000000-0000-4000-8000-000000000001",
    createdAt: 1,
    replicationFactor: 1,
    settings: {},
    effectiveSettings: { ...settings, ...choices },
    partitions: [{ partition: 0, state: "closed" }],
  };
  const described = exchange({ path: "/v1/topics/a", body: JSON.stringify(topic) });
  const made = { ...described, method: "POST", path: "/v1/topics", status: 201, requestBody: '{"name":"a"}' };

  const sound: readonly Exchange[] = [
    described,
    made,
    { ...described, path: "/v1/topics/a?x=1" },
    { ...described, path: "/no/such/route", status: 404, mediaType: "text/plain" },
    { ...described, method: "DELETE", status: 204, mediaType: "", body: "" },
  ];
  for (const one of sound) {
    test(`it finds nothing in ${one.method} ${one.path} ${one.status}`, () => {
      assert.equal(conformance.findFault(one), undefined);
    });
  }

  const wrong: readonly (readonly [string, Exchange, RegExp])[] = [
    ["a status", { ...described, status: 418 }, /no answer 418/],
    ["a media type", { ...described, mediaType: "text/html" }, /it is text\/html/],
    ["no JSON", { ...described, body: "{" }, /it is no JSON/],
    ["a field that is missing", { ...described, body: "{}" }, /must have required property 'name'/],
    ["a field too many", { ...described, body: JSON.stringify({ ...topic, more: 1 }) }, /must NOT have additional properties/],
    ["a body where there is none", { ...described, method: "DELETE", status: 204, body: "x" }, /it has a body/],
    ["a code of another status", problem(404, "TOPIC_ALREADY_EXISTS"), /must be equal to one of the allowed values/],
    [
      "something taken that the document refuses",
      { ...made, requestBody: '{"name":"a","partition":1}' },
      /what was sent and taken/,
    ],
    ["a media type taken that the document doesn't have", { ...made, requestType: "text/csv" }, /takes no text\/csv/],
  ];
  for (const [what, one, fault] of wrong) {
    test(`it finds ${what}`, () => {
      assert.match(conformance.findFault(one) ?? "", fault);
    });
  }

  function exchange(fields: Partial<Exchange>): Exchange {
    return { method: "GET", path: "/", status: 200, mediaType: "application/json", body: "", ...fields };
  }

  function problem(status: number, code: string): Exchange {
    const body = { type: "urn:proglog:error:x", title: "x", status, code, detail: "x", retryable: false };
    return exchange({ path: "/v1/topics/a", status, mediaType: "application/problem+json", body: JSON.stringify(body) });
  }
});

/** Under the names that `apiOperations` has for them. */
function operationsOf(document: ApiDocument) {
  return Object.entries(document.paths).flatMap(([path, item]) => {
    return Object.entries(item).map(([method, operation]) => {
      return { route: `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ":$1")}`, operation };
    });
  });
}
