import { ProglogError } from "../base/error.ts";
import { topicNameMaxChars } from "../base/limits.ts";

/**
 * Throws INVALID_TOPIC_NAME unless `name` may name a topic: 1 to 249 of `A-Z a-z 0-9 . _ -`, as Kafka has it, so that a name can
 * stand in a path, a metric and a file name. `.` and `..` are directories everywhere, and two underscores in front are kept for topics of
 * our own.
 */
export function checkTopicName(name: string): void {
  if (name === "") throw refuse(name, "it is empty");
  if (name.length > topicNameMaxChars)
    throw refuse(name, `it has ${name.length} characters, and ${topicNameMaxChars} are allowed`);
  if (!/^[A-Za-z0-9._-]+$/.test(name))
    throw refuse(name, "it holds something other than letters, digits, dots, underscores and hyphens");
  if (name === "." || name === "..") throw refuse(name, "it means a directory");
  if (name.startsWith("__")) throw refuse(name, "names that begin with two underscores are reserved");
}

/** The topic meant by the routes that name none. */
export const defaultTopicName = "default";

function refuse(name: string, reason: string): ProglogError {
  return new ProglogError(
    "INVALID_TOPIC_NAME",
    `Cannot use ${JSON.stringify(name.slice(0, 64))} as a topic's name: ${reason}`,
    {
      hint: "Use 1 to 249 letters, digits, dots, underscores and hyphens.",
    },
  );
}
