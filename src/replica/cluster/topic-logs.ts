import type { Clock, Timer } from "../../base/clock.ts";
import { isProglogError, messageOf } from "../../base/error.ts";
import type { Logger } from "../../base/logger.ts";
import type { LogSettings } from "../data-directory.ts";
import { logOptionsOf } from "../effective-settings.ts";
import type { GroupReplica } from "../group/group-replica.ts";
import type { GroupSet } from "../group/group-set.ts";
import type { CatalogState } from "./catalog-state.ts";

/** Makes the logs of a node's groups go by what their topics say, and by retention where they are led. */
export class TopicLogs {
  readonly #parts: TopicLogsParts;
  /** By what each was configured last. */
  readonly #configured = new WeakMap<GroupReplica, object>();
  #timer: Timer | undefined;
  #isClosed = false;

  constructor(parts: TopicLogsParts) {
    this.#parts = parts;
    this.#schedule();
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  configureAll(): void {
    for (const { record, state } of this.#parts.groups.states())
      if (state.kind === "open") this.configure(record.groupId, state.member);
  }

  configure(groupId: string, group: GroupReplica): void {
    const { catalog, log, logger } = this.#parts;
    const { groups, topics } = catalog();
    const settings = topics.get(groups.get(groupId)?.topic ?? "")?.settings;
    if (settings === undefined || this.#configured.get(group) === settings) return;
    this.#configured.set(group, settings);
    try {
      // Replicas compact by themselves, and one may get from another what that has compacted: with its tombstone gone, an older record of a
      // key would be the newest there. So tombstones stay.
      group.log.configure({ ...logOptionsOf(settings, log), tombstoneRetentionMs: Number.MAX_SAFE_INTEGER });
    } catch (error) {
      logger.error({ group: groupId, reason: messageOf(error) }, "a log can't go by its topic's settings");
    }
  }

  #schedule(): void {
    this.#timer = this.#parts.clock.setTimer(this.#parts.retentionIntervalMs, () => {
      // What a topic keeps isn't known before its log goes by it.
      for (const { record, state } of this.#parts.groups.states())
        if (state.kind === "open" && state.member.isLeader && this.#configured.has(state.member))
          this.#applyRetention(record.groupId, state.member);
      if (!this.#isClosed) this.#schedule();
    });
  }

  #applyRetention(groupId: string, group: GroupReplica): void {
    group.applyRetention().catch((error: unknown) => {
      if (isProglogError(error, "NOT_LEADER") || isProglogError(error, "LEADERSHIP_LOST")) return;
      this.#parts.logger.warn({ group: groupId, reason: messageOf(error) }, "retention can't be applied yet");
    });
  }
}

export interface TopicLogsParts {
  readonly groups: Pick<GroupSet<GroupReplica>, "states">;
  readonly catalog: () => CatalogState;
  /** How logs behave where their topic doesn't say. */
  readonly log: LogSettings;
  readonly retentionIntervalMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
}
