import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isBearerToken, readTokenFile } from "./bearer-token.ts";
import { createMemoryDisk } from "./memory-disk.ts";
import { bearerTokenMaxChars } from "./security-limits.ts";

describe("a token's file", () => {
  async function read(text: string): Promise<string> {
    const disk = createMemoryDisk();
    const file = disk.open("token", "create");
    await file.write([Buffer.from(text)], 0);
    file.close();
    return readTokenFile(disk, "token", "--token-file");
  }

  test("holds one word of as many characters as may be, and white space around it", async () => {
    const longest = "x".repeat(bearerTokenMaxChars);
    for (const text of ["t", "plg_a-b_c~!", longest]) {
      assert.equal(await read(text), text);
      assert.equal(await read(` \n${text}\r\n`), text);
    }
    for (const text of ["", " \n", "a b", "a\nb", "é", "\0", `${longest}x`, longest.repeat(3)])
      await assert.rejects(read(text), { code: "INVALID_CONFIG" });
    assert.deepEqual([isBearerToken(longest), isBearerToken(`${longest}x`), isBearerToken("")], [true, false, false]);
  });

  test("is refused where it is missing, or everybody may read it", async () => {
    const disk = createMemoryDisk();
    assert.throws(() => readTokenFile(disk, "none", "--token-file"), {
      message: "Cannot use --token-file none: there is no such file",
    });
    const file = disk.open("token", "create");
    await file.write([Buffer.from("secret")], 0);
    file.close();
    const exposed = { ...disk, open: disk.open.bind(disk), isReadableByOthers: () => true };
    assert.throws(
      () => readTokenFile(exposed, "token", "--token-file"),
      (error: Error) => {
        assert.match(error.message, /everybody may read it/);
        return !error.message.includes("secret");
      },
    );
  });
});
