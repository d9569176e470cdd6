import { type ConfigKey, configKeys, formatConfigValue } from "../../src/server/index.ts";

/** Every key of the configuration: flag, variable and line of the file. */
export function configPage(): string {
  const rows = configKeys.map((key) => {
    const cells = [
      `\`--${key.name}\``,
      `\`${key.environment}\``,
      valueOf(key),
      `\`${formatConfigValue({ ...key, isSecret: false }, key.default)}\``,
    ];
    return `| ${[...cells, key.help.replaceAll("|", "\\|")].join(" | ")} |\n`;
  });
  return `Each is a flag of \`proglog serve\`, a variable of the environment, and a key of the file that \`--config-file\` names, there without its hyphens in front. A flag goes before the variable, that before the file. \`proglog config show\` says what holds, and from where; what they do together is in [cli.md](cli.md#serve).

| flag | variable | value | default | |
|---|---|---|---|---|
${rows.join("")}`;
}

function valueOf(key: ConfigKey): string {
  const { kind, choices = [], min = 0, max = Number.MAX_SAFE_INTEGER, nullWord, isSecret } = key;
  const range = `${bound(key, min)} to ${max === Number.MAX_SAFE_INTEGER ? "2^53-1" : bound(key, max)}`;
  const kinds: Readonly<Record<ConfigKey["kind"], string>> = {
    text: "text",
    name: "a name",
    address: "`host:port`",
    addresses: "`host:port`, several with a comma between",
    origins: "origins, with a comma between",
    url: "a URL",
    headers: "`name=value`, several with a comma between",
    flag: "`true`, `false`",
    choice: choices.map((choice) => `\`${choice}\``).join(", "),
    integer: range,
    bytes: `bytes, ${range}`,
    duration: `a duration, ${range}`,
  };
  return `${kinds[kind]}${nullWord === undefined ? "" : `; \`${nullWord}\``}${isSecret === true ? "; secret" : ""}`;
}

function bound(key: ConfigKey, value: number): string {
  return formatConfigValue({ ...key, isSecret: false }, value);
}
