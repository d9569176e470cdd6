import { join } from "node:path";
import type { Clock } from "../../base/clock.ts";
import type { Disk, DiskFile } from "../../base/disk.ts";
import { messageOf } from "../../base/error.ts";
import type { Logger } from "../../base/logger.ts";
import {
  auditDenialsMaxCount,
  auditDenialsMs,
  auditFileMaxBytes,
  auditFilesMaxCount,
  auditSourcesMaxCount,
  auditWaitingMaxCount,
} from "../../base/security-limits.ts";

/**
 * Who was refused what, and who changed what: a line of JSON each, at the end of `audit.log` in the data directory, never with a secret. When it is
 * full it becomes `audit.log.1`, the one before `.2`, and so on. Nothing waits for it: what the disk is too slow for is counted, and so
 * is what one source is refused over and over. A disk that takes no more of it stops nothing either; that is logged.
 */
export class AuditLog {
  readonly #options: AuditLogOptions;
  readonly #path: string;
  #waiting: WaitingLine[] = [];
  readonly #denials = new Map<string, { sinceMs: number; count: number; leftOutCount: number }>();
  #file: DiskFile | undefined;
  #size = 0;
  #lostCount = 0;
  #writing: Promise<void> | undefined;
  #isFailing = false;
  #isClosed = false;

  constructor(options: AuditLogOptions) {
    this.#options = options;
    this.#path = join(options.directory, auditName);
  }

  /** Somebody was refused, or showed a token that is none. The first of a minute are written for each who and from where. */
  denied(entry: AuditEntry): void {
    const leftOutCount = this.#admit(`${entry.address}\n${entry.principal}`);
    if (leftOutCount === undefined) return;
    this.#add({ ...entry, ...(leftOutCount === 0 ? {} : { leftOut: leftOutCount }) });
  }

  /** Somebody changed something, or tried to. */
  changed(entry: AuditEntry): void {
    this.#add(entry);
  }

  /** Resolves when all is written. Twice is fine. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#writing;
    this.#file?.close();
    this.#file = undefined;
  }

  /** How many were left out before it; undefined when it is to be left out, too. */
  #admit(source: string): number | undefined {
    const nowMs = this.#options.clock.monotonic();
    const known = this.#denials.get(source);
    if (known !== undefined && nowMs - known.sinceMs < auditDenialsMs) {
      known.count += 1;
      if (known.count <= auditDenialsMaxCount) return 0;
      known.leftOutCount += 1;
      return undefined;
    }
    this.#denials.delete(source);
    if (this.#denials.size >= auditSourcesMaxCount) {
      const [oldest] = this.#denials.keys();
      if (oldest !== undefined) this.#denials.delete(oldest);
    }
    this.#denials.set(source, { sinceMs: nowMs, count: 1, leftOutCount: 0 });
    return known?.leftOutCount ?? 0;
  }

  #add(entry: object): void {
    if (this.#isClosed) return;
    if (this.#waiting.length >= auditWaitingMaxCount) {
      this.#lostCount += 1;
      return;
    }
    const lostCount = this.#lostCount;
    this.#lostCount = 0;
    const time = new Date(this.#options.clock.now()).toISOString();
    const text = JSON.stringify({ time, ...entry, ...(lostCount === 0 ? {} : { lost: lostCount }) });
    this.#waiting.push({ text: `${text}\n`, lostCount });
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
  }

  async #write(): Promise<void> {
    const { clock, logger } = this.#options;
    while (this.#waiting.length > 0) {
      await clock.turn();
      const lines = this.#waiting;
      this.#waiting = [];
      try {
        await this.#append(Buffer.from(lines.map(({ text }) => text).join("")));
        this.#isFailing = false;
      } catch (error) {
        // With what they themselves said was lost.
        for (const { lostCount } of lines) this.#lostCount += 1 + lostCount;
        this.#file?.close();
        this.#file = undefined;
        if (!this.#isFailing) logger.error({ path: this.#path, reason: messageOf(error) }, "the audit log can't be written");
        this.#isFailing = true;
      }
    }
  }

  async #append(bytes: Buffer): Promise<void> {
    const { disk, fileMaxBytes = auditFileMaxBytes } = this.#options;
    if (this.#file === undefined) {
      const size = disk.size(this.#path);
      this.#file = disk.open(this.#path, size === undefined ? "create" : "write");
      this.#size = size ?? 0;
    }
    if (this.#size > 0 && this.#size + bytes.length > fileMaxBytes) this.#file = this.#roll(this.#file);
    await this.#file.write([bytes], this.#size);
    this.#size += bytes.length;
  }

  #roll(file: DiskFile): DiskFile {
    const { disk } = this.#options;
    file.close();
    this.#file = undefined;
    disk.remove(`${this.#path}.${auditFilesMaxCount}`);
    for (let number = auditFilesMaxCount - 1; number >= 1; number -= 1)
      if (disk.size(`${this.#path}.${number}`) !== undefined)
        disk.rename(`${this.#path}.${number}`, `${this.#path}.${number + 1}`);
    disk.rename(this.#path, `${this.#path}.1`);
    this.#size = 0;
    return disk.open(this.#path, "create");
  }
}

export interface AuditEntry {
  readonly event: "denied" | "bad-token" | "changed";
  /** Who, by the name that rules know. */
  readonly principal: string;
  /** How that was shown. */
  readonly kind: string;
  /** From where. */
  readonly address: string;
  /** What was asked for. */
  readonly action: string;
  readonly resource: string;
  /** "ok", or the code of the error. */
  readonly outcome: string;
  /** What was changed, in a few words; no secret. */
  readonly change?: string;
}

export interface AuditLogOptions {
  readonly disk: Disk;
  /** The data directory. */
  readonly directory: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Default `auditFileMaxBytes`. */
  readonly fileMaxBytes?: number;
}

interface WaitingLine {
  readonly text: string;
  /** How many it says were lost before it. */
  readonly lostCount: number;
}

export const auditName = "audit.log";
