import { Option } from "commander";
import { ProglogError } from "../base/error.ts";
import { checkTopicSettingName, parseTopicSetting, type TopicSettingValue } from "../base/topic-settings.ts";
import { serverDefault } from "./server-address.ts";

/** The options that several commands share, and what reads their values. */

export function serverOption(): Option {
  // Neither default nor environment are commander's business: it would ask the process's own environment.
  return new Option(
    "--server <host:port,…>",
    `server to talk to, or several of a cluster (default: ${serverDefault}, env: PROGLOG_SERVER)`,
  );
}

export function topicOption(): Option {
  return new Option("--topic <name>", "topic").default("default");
}

/** Reads a whole number from `min` up. Throws INVALID_ARGUMENT. */
export function parseInteger(flag: string, min: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!Number.isSafeInteger(value) || value < min) {
      throw new ProglogError(
        "INVALID_ARGUMENT",
        `Cannot use ${flag} ${JSON.stringify(text)}: it is no whole number from ${min} on`,
      );
    }
    return value;
  };
}

/** Gathers `--set name=value` into settings, each checked by the table. Throws INVALID_ARGUMENT. */
export function collectSetting(text: string, settings: Settings = {}): Settings {
  const [, name, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
  if (name === undefined || value === undefined) {
    throw new ProglogError("INVALID_ARGUMENT", `Cannot use --set ${JSON.stringify(text)}: it isn't name=value`, {
      hint: "As in --set retentionMs=7d.",
    });
  }
  checkTopicSettingName(name);
  return { ...settings, [name]: parseTopicSetting(name, value) };
}

/** Gathers `--unset name`: any name, as a later server may know more of them. */
export function collectName(text: string, names: readonly string[] = []): readonly string[] {
  return [...names, text];
}

export type Settings = Readonly<Record<string, TopicSettingValue>>;
