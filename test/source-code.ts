import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * A source file as the house's tests look at it: its code without what was written in comments and strings, and what it
 * imports. Not a parser: it only tells comment, string, template and regular expression from code, which is enough to find an
 * import wherever it stands and never to take a comment for one.
 */
export interface SourceCode {
  /** Relative to the repository, with slashes. */
  readonly path: string;
  /** The text with every comment and the inside of every string blanked, so that lines and columns stay what they are. */
  readonly code: string;
  readonly imports: readonly Import[];
}

export interface Import {
  /** What was imported, as written; undefined where it is computed. */
  readonly specifier: string | undefined;
  /** `import type` and `export type`, gone at run time. An import whose every name is marked `type` isn't. */
  readonly isTypeOnly: boolean;
  readonly line: number;
}

export const repository = join(import.meta.dirname, "..");

/** The files that match, sorted. Installed packages are never among them. */
export function listFiles(...patterns: readonly string[]): string[] {
  return globSync(patterns, { cwd: repository, exclude: (path) => /(^|\/)node_modules$/.test(path) }).sort();
}

export function readSourceCode(path: string): SourceCode {
  return parseSourceCode(path, readFileSync(join(repository, path), "utf8"));
}

export function parseSourceCode(path: string, text: string): SourceCode {
  const { code, strings } = blank(text);
  return { path, code, imports: findImports(code, strings) };
}

export function lineOf(code: string, position: number): number {
  return code.slice(0, position).split("\n").length;
}

/** Strings by the position of their opening quote. */
type Strings = ReadonlyMap<number, string>;

/** A slash behind one of these divides; behind anything else it opens a regular expression. */
const endsValue = /[\w$)\]}"'`]$/;
const keywordBeforeValue = /(?:^|[^\w$.])(?:return|typeof|case|in|of|delete|void|throw|new|else|do|await|yield|instanceof)$/;

function blank(text: string): { code: string; strings: Strings } {
  const strings = new Map<number, string>();
  let code = "";
  let at = 0;
  /** Open braces in each template whose `${` we are inside of, innermost last. */
  const templates: number[] = [];

  const copy = (end: number): void => {
    code += text.slice(at, end);
    at = end;
  };
  const blankTo = (end: number): void => {
    code += text.slice(at, end).replaceAll(/[^\n]/g, " ");
    at = end;
  };
  /** Blanks a template's text from `at` to its closing backtick or its next `${`. */
  const template = (): void => {
    let end = at;
    while (end < text.length && text[end] !== "`" && !text.startsWith("${", end)) end += text[end] === "\\" ? 2 : 1;
    blankTo(end);
    if (text[end] === "`") return copy(end + 1);
    templates.push(0);
    copy(end + 2);
  };

  while (at < text.length) {
    const character = text[at];
    if (text.startsWith("//", at)) blankTo(endOf(text, "\n", at));
    else if (text.startsWith("/*", at)) blankTo(endOf(text, "*/", at + 2) + 2);
    else if (character === '"' || character === "'") {
      const end = endOfQuoted(text, at);
      strings.set(at, text.slice(at + 1, end));
      copy(at + 1);
      blankTo(end);
      copy(end + 1);
    } else if (character === "`") {
      copy(at + 1);
      template();
    } else if (character === "/" && opensRegExp(code)) {
      const end = endOfRegExp(text, at);
      copy(at + 1);
      blankTo(end);
      copy(end + 1);
    } else if (character === "}" && templates.at(-1) === 0) {
      templates.pop();
      copy(at + 1);
      template();
    } else {
      const depth = templates.length - 1;
      if (character === "{" && depth >= 0) templates[depth] = (templates[depth] ?? 0) + 1;
      if (character === "}" && depth >= 0) templates[depth] = (templates[depth] ?? 0) - 1;
      copy(at + 1);
    }
  }
  return { code, strings };
}

function endOf(text: string, what: string, from: number): number {
  const found = text.indexOf(what, from);
  return found === -1 ? text.length : found;
}

function endOfQuoted(text: string, start: number): number {
  let end = start + 1;
  while (end < text.length && text[end] !== text[start] && text[end] !== "\n") end += text[end] === "\\" ? 2 : 1;
  return end;
}

function endOfRegExp(text: string, start: number): number {
  let end = start + 1;
  for (let isClass = false; end < text.length && text[end] !== "\n"; end++) {
    if (text[end] === "\\") end++;
    else if (text[end] === "[") isClass = true;
    else if (text[end] === "]") isClass = false;
    else if (text[end] === "/" && !isClass) break;
  }
  return end;
}

function opensRegExp(code: string): boolean {
  const before = code.slice(-200).trimEnd();
  return !endsValue.test(before) || keywordBeforeValue.test(before);
}

/** `import … from`, `export … from`, `import "…"`; none of them has a `;`, `=` or parenthesis before its string. */
const staticImport = /(?<![\w$.])(?:import|export)\s+(type\s(?!\s*from\s*["']))?(?:[\w$*{},\s]*?\bfrom\s*)?(?=["'])/g;
/** What loads a module by name while the program runs, in any of its spellings. */
const dynamicImport = /(?:(?<![\w$.])(?:import|require)|\bcreateRequire\s*\([^()]*\)|\bgetBuiltinModule)\s*\(\s*/g;

function findImports(code: string, strings: Strings): Import[] {
  const imports: Import[] = [];
  for (const match of code.matchAll(staticImport)) {
    const end = match.index + match[0].length;
    imports.push({ specifier: strings.get(end), isTypeOnly: match[1] !== undefined, line: lineOf(code, end) });
  }
  for (const match of code.matchAll(dynamicImport)) {
    const end = match.index + match[0].length;
    const isTypeOnly = /\btypeof\s+$/.test(code.slice(Math.max(0, match.index - 20), match.index));
    imports.push({ specifier: strings.get(end), isTypeOnly, line: lineOf(code, end) });
  }
  return imports;
}
