import { main } from "../../src/cli/main.ts";
import { MemoryIo } from "../../src/cli/memory-io.ts";
import { configKeys } from "../../src/server/index.ts";

/** The help of every command, as the command itself prints it. */
export async function commandsPage(): Promise<string> {
  const sections: string[] = [];
  for (const command of await listCommands([])) {
    const { help } = command;
    sections.push(`## ${["proglog", ...command.path].join(" ")}\n\n\`\`\`text\n${help.trimEnd()}\n\`\`\`\n`);
  }
  return `What \`--help\` of each command prints. How they are used, with examples and exit codes, is in [cli.md](cli.md). Commands that take the flags of \`proglog serve\` have these in [reference-config.md](reference-config.md).

${sections.join("\n")}`;
}

interface CommandHelp {
  readonly path: readonly string[];
  readonly help: string;
}

async function listCommands(path: readonly string[]): Promise<readonly CommandHelp[]> {
  const io = new MemoryIo();
  await main([...path, "--help"], io);
  const help = io.stdout.text;
  const [, list = ""] = help.split("\nCommands:\n");
  const [lines = ""] = list.split("\n\n", 1);
  const names = [...lines.matchAll(/^ {2}([a-z-]+)/gm)].map(([, name]) => name ?? "");
  const below = await Promise.all(names.filter((name) => name !== "help").map((name) => listCommands([...path, name])));
  return [{ path, help: withoutConfig(help) }, ...below.flat()];
}

/** The flags that the configuration's schema makes have a page of their own. A flag's text goes on in lines that are indented further. */
function withoutConfig(help: string): string {
  const names = new Set(configKeys.map(({ name }) => name));
  let isLeftOut = false;
  return help
    .split("\n")
    .filter((line) => {
      const flag = /^ {2}(?:-\w, )?--([a-z-]+)/.exec(line)?.[1];
      if (flag !== undefined) isLeftOut = names.has(flag);
      else if (!/^ {6}/.test(line)) isLeftOut = false;
      return !isLeftOut;
    })
    .join("\n");
}
