import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, test } from "node:test";
import { listFiles, repository } from "./source-code.ts";

const pages = listFiles("*.md", "docs/**/*.md", "examples/**/*.md", "deploy/**/*.md", "bench/**/*.md", "sim/**/*.md");

describe("documents", () => {
  test("each link leads to a file that is there, and to a heading of it", () => {
    const dead = pages.flatMap((page) =>
      linksOf(page).flatMap(({ path, anchor, link }) => {
        if (!existsSync(join(repository, path))) return [`${page}: ${link}`];
        return anchor === undefined || !path.endsWith(".md") || anchorsOf(path).has(anchor) ? [] : [`${page}: ${link}`];
      }),
    );
    assert.deepEqual(dead, []);
  });

  // What runs in the suite is what is shown: a page quotes lines of the files that it links to, in one piece or with "…" in between.
  for (const page of pages.filter((path) => /^docs\/(howto\/|getting-started)/.test(path)))
    test(`${page} quotes its examples as they are`, () => {
      const files = linksOf(page).flatMap(({ path }) => (quoted.test(path) ? [linesOf(path)] : []));
      const strange = quotesOf(page).filter((quote) => !files.some((lines) => holds(lines, quote)));
      assert.deepEqual(strange, []);
    });

  test("quotes are looked at", () => {
    assert.ok(pages.flatMap((page) => (/howto/.test(page) ? quotesOf(page) : [])).length >= 10);
    const lines = ["a {", "  b", "    c", "  d"];
    assert.ok(holds(lines, "  b\n    c\n") && holds(lines, "b\n  c"));
    assert.ok(!holds(lines, "b\nd") && !holds(lines, "b\nc"));
  });
});

const quoted = /\.(ts|html|yaml|yml|service|Dockerfile)$|\/Dockerfile$/;

interface Link {
  readonly link: string;
  /** From the repository's root. */
  readonly path: string;
  readonly anchor: string | undefined;
}

function linksOf(page: string): Link[] {
  const text = readFileSync(join(repository, page), "utf8").replaceAll(/^```.*?^```/gms, "");
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, link = ""]) => {
    if (/^[a-z]+:/.test(link)) return [];
    const [path = "", anchor] = link.split("#", 2);
    const target = path === "" ? page : relative(repository, join(repository, dirname(page), path));
    return [{ link, path: target, anchor }];
  });
}

/** As they are made of headings: letters and digits in lower case, hyphens for spaces, nothing else. */
function anchorsOf(page: string): ReadonlySet<string> {
  const text = readFileSync(join(repository, page), "utf8").replaceAll(/^```.*?^```/gms, "");
  const headings = [...text.matchAll(/^#{1,6} (.+)$/gm)].map(([, heading = ""]) => heading);
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}

/** The pieces of all blocks that are code of a file: commands are tried elsewhere. */
function quotesOf(page: string): string[] {
  const text = readFileSync(join(repository, page), "utf8");
  const blocks = [...text.matchAll(/^```(?:ts|html|yaml|ini|dockerfile)\n(.*?)^```$/gms)];
  return blocks.flatMap(([, block = ""]) => block.split(/^\s*…\n/m)).filter((piece) => piece.trim() !== "");
}

function linesOf(path: string): readonly string[] {
  return readFileSync(join(repository, path), "utf8").split("\n");
}

/** Whether the lines stand there one behind the other, all of them as far in as the page has them, or so much further. */
function holds(lines: readonly string[], quote: string): boolean {
  const wanted = quote.replace(/\n$/, "").split("\n");
  return lines.some((_, start) => {
    const found = lines.slice(start, start + wanted.length);
    const [first = ""] = found;
    const more = first.slice(0, first.length - (wanted[0] ?? "").length);
    return more.trim() === "" && wanted.every((line, at) => (line === "" ? found[at] === "" : more + line === found[at]));
  });
}
