import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { GrpcPair } from "../../test/grpc-pair.ts";
import { bytesField, findField, integerField, readFields, textOf } from "./protobuf-fields.ts";
import { reflectionInfo, reflectionMethods } from "./reflection.ts";

const named = (name: string): Buffer => bytesField(1, name);

/** `base.proto`: a message with a nested one and an enum, and an extension of its own; a/b need it, and each other nothing. */
const base = Buffer.concat([
  named("base.proto"),
  bytesField(2, "test.base"),
  bytesField(
    4,
    Buffer.concat([
      named("Outer"),
      bytesField(3, named("Inner")),
      bytesField(4, Buffer.concat([named("Kind"), bytesField(2, named("FIRST"))])),
    ]),
  ),
]);
const service = Buffer.concat([
  named("service.proto"),
  bytesField(2, "test"),
  bytesField(3, "base.proto"),
  bytesField(6, Buffer.concat([named("Echo"), bytesField(2, named("Say"))])),
  bytesField(5, Buffer.concat([named("Top"), bytesField(2, named("ONE"))])),
  bytesField(7, Buffer.concat([named("mark"), bytesField(2, ".test.base.Outer"), integerField(3, 1000)])),
]);
const bare = Buffer.concat([named("bare.proto"), bytesField(4, named("Bare"))]);
const descriptorSet = Buffer.concat([base, service, bare].map((file) => bytesField(1, file)));

interface Answer {
  readonly files: string[];
  readonly services: string[];
  readonly error: number | undefined;
  readonly numbers: number[];
}

async function ask(requests: readonly Buffer[], scope = "grpc.reflection.v1"): Promise<Answer[]> {
  await using pair = await GrpcPair.open({ methods: reflectionMethods(descriptorSet) });
  const call = await pair.connect().bidiStream(reflectionInfo(scope));
  const answers: Answer[] = [];
  for (const request of requests) {
    const asked = Buffer.concat([bytesField(1, "host"), request]);
    await call.send(asked);
    const fields = readFields((await call.responses.read()) ?? Buffer.alloc(0));
    assert.equal(textOf(fields, 1), "host");
    assert.deepEqual(findField(fields, 2)?.bytes, asked);
    const inner = (number: number): ReturnType<typeof readFields> =>
      readFields(findField(fields, number)?.bytes ?? Buffer.alloc(0));
    answers.push({
      files: inner(4).map(({ bytes }) => textOf(readFields(bytes), 1)),
      services: inner(6).map(({ bytes }) => textOf(readFields(bytes), 1)),
      error: findField(inner(7), 1)?.integer,
      numbers: inner(5)
        .filter(({ number }) => number === 2)
        .map(({ integer }) => integer),
    });
  }
  call.end();
  assert.equal(await call.responses.read(), undefined);
  return answers;
}

const nothing = { files: [], services: [], error: undefined, numbers: [] };

describe("reflection", () => {
  test("lists the services, in both of its versions", async () => {
    for (const scope of ["grpc.reflection.v1", "grpc.reflection.v1alpha"])
      assert.deepEqual(await ask([bytesField(7, "*")], scope), [{ ...nothing, services: ["test.Echo"] }]);
  });

  test("finds a file by its name and by what it defines", async () => {
    const symbols = {
      "test.base.Outer": "base.proto",
      "test.base.Outer.Inner": "base.proto",
      "test.base.Outer.Kind": "base.proto",
      "test.base.Outer.FIRST": "base.proto",
      Bare: "bare.proto",
    };
    for (const [symbol, file] of Object.entries(symbols))
      assert.deepEqual((await ask([bytesField(4, symbol)]))[0]?.files, [file], symbol);
    assert.deepEqual((await ask([bytesField(3, "bare.proto")]))[0]?.files, ["bare.proto"]);
  });

  test("sends what a file needs with it, and nothing twice a stream but what is asked for", async () => {
    for (const symbol of ["test.Echo", "test.Echo.Say", "test.Top", "test.ONE", "test.mark"])
      assert.deepEqual((await ask([bytesField(4, symbol)]))[0]?.files, ["service.proto", "base.proto"], symbol);
    const answers = await ask([bytesField(4, "test.base.Outer"), bytesField(4, "test.Echo"), bytesField(4, "test.Echo")]);
    assert.deepEqual(
      answers.map(({ files }) => files),
      [["base.proto"], ["service.proto"], ["service.proto"]],
    );
  });

  test("knows what extends a message", async () => {
    const extension = (number: number): Buffer =>
      bytesField(5, Buffer.concat([bytesField(1, "test.base.Outer"), integerField(2, number)]));
    assert.deepEqual(await ask([bytesField(6, "test.base.Outer"), bytesField(6, "Bare"), extension(1000)]), [
      { ...nothing, numbers: [1000] },
      nothing,
      { ...nothing, files: ["service.proto", "base.proto"] },
    ]);
    assert.equal((await ask([extension(1001)]))[0]?.error, 5);
  });

  test("answers what isn't there with NOT_FOUND, what it can't read with INVALID_ARGUMENT, and goes on", async () => {
    const answers = await ask([
      bytesField(4, "test.Other"),
      bytesField(3, "other.proto"),
      bytesField(6, "test.Other"),
      integerField(9, 1),
      bytesField(5, Buffer.from([0xff])),
      bytesField(7, ""),
    ]);
    assert.deepEqual(
      answers.map(({ error }) => error),
      [5, 5, 5, 3, 3, undefined],
    );
    assert.deepEqual(answers.at(-1)?.services, ["test.Echo"]);
  });

  test("of bytes that are no descriptors isn't made", () => {
    assert.throws(() => reflectionMethods(Buffer.from([0x0a, 0xff])), { status: "INVALID_ARGUMENT" });
  });
});
