import type { NewTopic, Topic, TopicChange } from "../replica/catalog.ts";
import type { NodeStorage } from "../replica/node-storage.ts";
import { checkTopicName } from "../replica/topic-name.ts";
import type { Access } from "./access/access-control.ts";
import type { AuditLog } from "./access/audit-log.ts";
import { auditedChange } from "./access/audited-change.ts";
import type { Caller } from "./access/caller.ts";

/** Topics, as clients list, make, change and delete them, whichever way they came in. */
export class TopicService {
  readonly #storage: NodeStorage;
  readonly #access: Access;
  readonly #audit: AuditLog | undefined;

  constructor(storage: NodeStorage, { access, audit }: { readonly access: Access; readonly audit?: AuditLog | undefined }) {
    this.#storage = storage;
    this.#access = access;
    this.#audit = audit;
  }

  /** Those that the caller may see. */
  async list(caller: Caller): Promise<readonly Topic[]> {
    const topics = await this.#storage.catalog.listTopics();
    return topics.filter(({ name }) => this.#access.permits(caller, "describe", name));
  }

  async create(caller: Caller, request: NewTopic): Promise<Topic> {
    this.#access.check(caller, "admin", request.name);
    return this.#audited(caller, request.name, "create topic", () => this.#storage.catalog.createTopic(request));
  }

  async describe(caller: Caller, name: string): Promise<Topic> {
    this.#access.check(caller, "describe", name);
    checkTopicName(name);
    return this.#storage.catalog.describeTopic(name);
  }

  async change(caller: Caller, name: string, change: TopicChange): Promise<Topic> {
    this.#access.check(caller, "admin", name);
    checkTopicName(name);
    return this.#audited(caller, name, "change topic", () => this.#storage.catalog.changeTopic(name, change));
  }

  async delete(caller: Caller, name: string): Promise<void> {
    this.#access.check(caller, "admin", name);
    checkTopicName(name);
    return this.#audited(caller, name, "delete topic", () => this.#storage.catalog.deleteTopic(name));
  }

  #audited<Result>(caller: Caller, resource: string, change: string, run: () => Promise<Result>): Promise<Result> {
    return auditedChange(this.#audit, { caller, action: "admin", resource, change }, run);
  }
}
