import { checkHistory } from "../../test/histories/check-history.ts";
import { checkHistoryByBruteForce } from "../../test/histories/dumb-check.ts";
import type { AppendOperation, ReadOperation, SeenRecord } from "../../test/histories/history.ts";
import { Violation } from "../violation.ts";

/** Appends above which the slow checker, which looks at every pair, is left out. */
const slowCheckMaxCount = 400;

/** What clients asked of one partition and were told, for the two checkers of histories. */
export class PartitionHistory {
  readonly topic: string;
  readonly topicUuid: string;
  readonly partition: number;
  readonly uuid: string;
  readonly appends: AppendOperation[] = [];
  readonly reads: ReadOperation[] = [];

  constructor(topic: string, topicUuid: string, partition: number, uuid: string) {
    this.topic = topic;
    this.topicUuid = topicUuid;
    this.partition = partition;
    this.uuid = uuid;
  }

  /** `finals`: what each replica has in the end. */
  check(finals: ReadonlyMap<string, readonly SeenRecord[]>): void {
    const history = { appends: this.appends, reads: this.reads, finals };
    const anomalies = checkHistory(history);
    const [first] = anomalies;
    if (first !== undefined)
      throw new Violation(
        "HISTORY",
        `${this.topic}/${this.partition}: ${first.kind}: ${first.text}; ${anomalies.length} anomalies`,
      );
    if (this.appends.length > slowCheckMaxCount) return;
    const [slow] = checkHistoryByBruteForce(history);
    if (slow !== undefined)
      throw new Violation("HISTORY", `${this.topic}/${this.partition}: ${slow.kind}: ${slow.text}, by looking at every pair`);
  }
}
