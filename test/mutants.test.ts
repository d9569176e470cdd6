import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { applyChange, parseMutants, readMutants } from "./mutants/mutant.ts";
import { isSuite } from "./mutants/suites.ts";

describe("the rules broken on purpose (make mutants)", () => {
  const mutants = readMutants();

  test("have names of their own, and somebody who should notice", () => {
    assert.ok(mutants.length > 50);
    assert.equal(new Set(mutants.map(({ id }) => id)).size, mutants.length);
    for (const { id, title, by, changes } of mutants) {
      assert.ok(title !== "" && by.length > 0 && changes.length > 0, id);
      for (const name of by) assert.ok(isSuite(name) || globSync(name).length > 0, `${id}: there is no suite ${name}`);
    }
  });

  test("fit the code as it is", () => {
    for (const { id, changes } of mutants)
      for (const change of changes) {
        assert.ok(existsSync(change.file), `${id}: there is no ${change.file}`);
        assert.notEqual(applyChange(readFileSync(change.file, "utf8"), change), readFileSync(change.file, "utf8"), id);
      }
  });

  test("are lines that stand there once", () => {
    const [mutant] = parseMutants("said before\n== A1 a rule\nby units sim\nin x.ts\n- one\n-   two\n+ 2\n- four\n+ 4\n");
    assert.deepEqual(mutant, {
      ...{ id: "A1", title: "a rule", by: ["units", "sim"] },
      changes: [
        { file: "x.ts", search: ["one", "two"], replace: ["2"] },
        { file: "x.ts", search: ["four"], replace: ["4"] },
      ],
    });
    const [first, second] = mutant?.changes ?? [];
    assert.ok(first !== undefined && second !== undefined);
    assert.equal(applyChange("  one\n  two\nthree\nfour", first), "2\nthree\nfour");
    assert.throws(() => applyChange("one\ntwo\none\ntwo", first), /x\.ts has 2 places with: one ⏎ two/);
    assert.throws(() => applyChange("one\nthree", first), /x\.ts has 0 places/);
  });
});
