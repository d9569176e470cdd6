import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { ErrorCode } from "../../src/base/error.ts";
import { errorTable } from "../../src/wire/error-table.ts";
import { repository } from "../source-code.ts";
import { errorMeanings } from "./error-meanings.ts";

/** The closed list of codes, in the groups in which the source has them. */
export function errorsPage(): string {
  const groups = readGroups().map(({ title, codes }) => {
    const rows = codes.map((code) => {
      const { grpc, http, isRetryable, outcome } = errorTable[code];
      const cells = [`\`${code}\``, http, `${grpc} ${grpcNames[grpc] ?? ""}`, isRetryable ? "yes" : "no", outcome ?? "–"];
      return `| ${[...cells, errorMeanings[code] ?? ""].join(" | ")} |\n`;
    });
    return `## ${title}\n\n| code | HTTP | gRPC | retryable | outcome | |\n|---|---:|---|---|---|---|\n${rows.join("")}`;
  });
  return `The codes that an error may have, in every language that a node speaks: \`code\` of a problem over HTTP, of a \`log.v1.Error\` over gRPC, and of a \`ProglogError\` in the library and the client. The list is closed, and only grows. Programs go by the code, people by the text beside it: what was tried, what is the case, and in the hint what to do.

**Retryable**: the same request may succeed later. **Outcome**, of an append that met it: \`not-appended\`, or \`unknown\` where the records may be there or come to be there; then only a retry that can be recognised as one, by a producer's id and sequence, is safe. The exit codes of the command line are in [cli.md](cli.md#exit-codes).

${groups.join("\n")}`;
}

interface CodeGroup {
  readonly title: string;
  readonly codes: readonly ErrorCode[];
}

/** The comments among the codes are the groups' titles. */
function readGroups(): readonly CodeGroup[] {
  const source = readFileSync(join(repository, "src/base/error.ts"), "utf8");
  const list = /export type ErrorCode =\n([\s\S]+?);\n/.exec(source)?.[1] ?? "";
  const groups: { title: string; codes: ErrorCode[] }[] = [];
  for (const line of list.split("\n")) {
    const title = /^\s*\/\/ (.+?)\.?$/.exec(line)?.[1];
    if (title !== undefined) groups.push({ title, codes: [] });
    const code = /^\s*\| "([A-Z_]+)"/.exec(line)?.[1];
    if (code !== undefined) groups.at(-1)?.codes.push(code as ErrorCode);
  }
  return groups;
}

const grpcNames: Readonly<Record<number, string>> = {
  1: "CANCELLED",
  2: "UNKNOWN",
  3: "INVALID_ARGUMENT",
  4: "DEADLINE_EXCEEDED",
  5: "NOT_FOUND",
  6: "ALREADY_EXISTS",
  7: "PERMISSION_DENIED",
  8: "RESOURCE_EXHAUSTED",
  9: "FAILED_PRECONDITION",
  10: "ABORTED",
  11: "OUT_OF_RANGE",
  12: "UNIMPLEMENTED",
  13: "INTERNAL",
  14: "UNAVAILABLE",
  15: "DATA_LOSS",
  16: "UNAUTHENTICATED",
};
