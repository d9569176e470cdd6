/** The media types that records travel in. */
export const jsonMediaType = "application/json";
export const linesMediaType = "application/x-ndjson";
export const bytesMediaType = "application/octet-stream";
export const eventStreamMediaType = "text/event-stream";

/** The media type of a `Content-Type`, in lower case and without parameters; undefined when there is none. */
export function parseMediaType(contentType: string | undefined): string | undefined {
  return contentType?.split(";", 1)[0]?.trim().toLowerCase();
}

/** The first of `offered` that an `Accept` names, in its order; undefined when it names none. Weights aren't looked at. */
export function findAccepted<Type extends string>(accept: string | undefined, offered: readonly Type[]): Type | undefined {
  const named = (accept ?? "").split(",").map(parseMediaType);
  return named.flatMap((type) => offered.filter((one) => one === type))[0];
}
