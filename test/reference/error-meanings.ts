import type { ErrorCode } from "../../src/base/error.ts";

/** What a code says, and what to do about it, for the reference. One that isn't here yet stands there with its numbers alone. */
export const errorMeanings: Readonly<Partial<Record<ErrorCode, string>>> = {
  INVALID_ARGUMENT: "A parameter, a body or a flag isn't what it may be; the text says which. Correct it.",
  INVALID_CONFIG: "A flag, a variable or a key of the file is unknown, wrong, or contradicts another: `proglog config check`.",
  INVALID_RECORD: "A record isn't one: a wrong type, a field too many, bytes that aren't Base64.",
  INVALID_BATCH:
    "A packed batch isn't a whole record batch v2, or its checksum doesn't fit. A producer packed it wrongly, or it was damaged on its way.",
  INVALID_TOPIC_NAME: "1 to 249 letters, digits, `.`, `_` and `-`; not `.` or `..`, not beginning with `__`.",
  RECORD_TOO_LARGE:
    "Key, value and headers are more than `maxRecordBytes` of the topic, 1 MiB at most. Put what is large elsewhere, and its address here.",
  BATCH_TOO_LARGE: "More than 4 MiB packed, 16 MiB unpacked or 1,000,000 records: send smaller ones.",
  REQUEST_TOO_LARGE: "A body larger than `--max-body-bytes`: send less at a time, or lines (NDJSON), which have no such bound.",
  UNSUPPORTED_COMPRESSION: "`snappy` and `lz4` need a package beside proglog; `details.package` names it.",
  UNSUPPORTED_MEDIA_TYPE: "The `Content-Type` isn't one that the route takes.",
  METHOD_NOT_ALLOWED: "The path is there, the method isn't; `Allow` says which are.",
  FORBIDDEN_ORIGIN: "A web page of another site, or a name that isn't this machine's: `--allow-origin`.",
  UNAUTHENTICATED:
    "Nobody knows who asks: nothing was shown, or a token or certificate that is wrong, over or revoked. [How it is shown](security.md#who-asks).",
  PERMISSION_DENIED: "No rule allows the caller what it asked for: `proglog acl add`, by who administers the node.",
  ROUTE_NOT_FOUND: "There is no such path.",
  OFFSET_OUT_OF_RANGE:
    "Before the log's start (retention removed it), behind its end, or removed by compaction or repair. `details` have both ends: go on at one of them.",
  OFFSET_INSIDE_BATCH: "A log can be cut between batches only; `details` have the batch's ends.",
  TOPIC_NOT_FOUND: "There is none of that name, or it was deleted.",
  TOPIC_ALREADY_EXISTS: "There is one of that name.",
  TOO_MANY_PARTITIONS:
    "More than a node takes, 10,000, or than the open files of its process allow: raise `ulimit -n`, or delete topics.",
  PARTITION_NOT_FOUND: "The topic has fewer partitions; they are numbered from 0.",
  LOG_NOT_FOUND: "A log that the manifest names isn't there: put its directory back, from a backup.",
  PRODUCER_FENCED: "A newer producer with the same id has taken over: stop this one.",
  OUT_OF_ORDER_SEQUENCE:
    "A batch before this one is missing: the producer left one out, or was forgotten after its time. Begin with a new producer id.",
  DUPLICATE_SEQUENCE: "It was appended by an earlier try, too long ago to say at which offset. Don't send it again.",
  CONDITION_FAILED: "The log doesn't end at the offset that was expected: somebody else appended. Read on, decide anew.",
  APPEND_QUEUE_FULL: "Appends come faster than the disk takes them, and 64 MiB of them wait: later, or a faster disk.",
  QUOTA_EXCEEDED:
    "The caller has had the [bytes a second](security.md#how-much) that it may; `details.retryAfterMs` says when to come back.",
  OVERLOADED: "Too much is held or waits; the text says what. Later.",
  DISK_FULL: "No room. Appends are taken again as soon as there is some: delete a topic, or lower a retention.",
  DISK_FAILED: "A write, sync or read failed: the diagnostics have the system's error.",
  LOG_CLOSED: "It is closed, or being closed.",
  LOG_LOCKED: "Another process has the directory open; the text has its pid.",
  LOG_POISONED:
    "An earlier write or sync failed, and nothing is appended until the log is opened again: [what to do](operating.md#log_poisoned).",
  LOG_CORRUPT: "Acknowledged bytes aren't what they were: [what to do](operating.md#log_corrupt).",
  MANIFEST_CORRUPT: "The list of topics can't be read: put back a copy of it. The logs are untouched.",
  UNDECODABLE_BATCH:
    "The batch is as it was appended, and can't be decoded: its producer packed it wrongly. Go on at `details.nextOffset`; `deepCheck` refuses such at the door.",
  UNSUPPORTED_FORMAT: "A newer release wrote it: use that, or a newer one.",
  NOT_LEADER:
    "Another node leads the partition; `details` say which, where it is known. Clients of proglog go there by themselves.",
  NOT_A_REPLICA: "This node has no replica of the partition; `details` say who leads.",
  LEADERSHIP_LOST:
    "The leader changed while the append was under way. A producer with an id sends it again, and it is there once.",
  NOT_CLUSTERED: "This node is in no cluster: there is nothing to do that with.",
  NODE_NOT_FOUND: "The cluster has no node of that name.",
  NODE_ALREADY_EXISTS:
    "A node of that name has another directory: another name, or `proglog cluster remove` the old one first.",
  PEER_REFUSED: "Another node doesn't speak with this one; `details.reason` says why: [identities](replication.md#identities).",
  CHANGE_IN_PROGRESS: "Something else is being changed there: again a little later.",
  INSECURE_ADDRESS: "The address can be reached from other machines, and nothing would guard it.",
  ADDRESS_IN_USE: "Another process listens there: `proglog doctor`.",
  SHUTTING_DOWN: "The node stops: another one, or later.",
  UNAVAILABLE: "Nobody answers, or who answers can't tell: another node, or later.",
  TIMEOUT: "It took longer than it may. Whether it came about isn't known.",
  CANCELLED: "Who asked has gone, or said that it is enough.",
  INTERNAL: "A fault of proglog's own, told of in its diagnostics. Report it.",
};
