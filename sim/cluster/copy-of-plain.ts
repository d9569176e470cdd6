/**
 * A copy of a message, which is made of plain objects, lists, numbers, texts and the like, as it would come out of the bytes of a
 * connection. `structuredClone` does it too, at ten times the cost.
 */
export function copyOfPlain<T>(value: T): T {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(copyOfPlain) as T;
  const copy: Record<string, unknown> = {};
  for (const [key, field] of Object.entries(value)) copy[key] = copyOfPlain(field);
  return copy as T;
}
