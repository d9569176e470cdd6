/** What may be done to a topic, or to `*` (docs/security.md). */
export type AccessAction = (typeof accessActions)[number];

export const accessActions = ["produce", "consume", "describe", "admin", "cluster"] as const;

export function isAccessAction(text: string): text is AccessAction {
  return (accessActions as readonly string[]).includes(text);
}

/** Which rules allow an action: who may do anything with a topic may see that it is there. */
export function allowingActions(action: AccessAction): readonly AccessAction[] {
  return action === "describe" ? accessActions : [action];
}
