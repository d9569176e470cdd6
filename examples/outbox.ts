import { mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type Log, openLog } from "proglog/log";

/**
 * The outbox: a change in a database and the record that tells of it, both or neither. The record is first written to a table, in
 * the transaction of the change; a relay then moves it to the log.
 *
 * The relay may die between appending and deleting, and would append twice. So each record carries its row's id, and the log itself is
 * asked how far it got: as long as the relay is its only writer, and retention leaves its last record, each row comes exactly once.
 *
 * `node outbox.ts [directory]`
 */
const directory = process.argv[2] ?? join(tmpdir(), "proglog-outbox");
mkdirSync(directory, { recursive: true });

using database = new DatabaseSync(join(directory, "shop.sqlite"));
database.exec(`
  CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, value TEXT NOT NULL);
`);
await using log = await openLog(join(directory, "log"));

placeOrder(database, "tea");
placeOrder(database, "cake");
console.log(`relayed ${await relay(database, log)}`);

// As after a crash between the append and the delete: the row is still there, and isn't appended again.
const { lastId } = database.prepare("SELECT seq AS lastId FROM sqlite_sequence WHERE name = 'outbox'").get() as {
  lastId: number;
};
database.prepare("INSERT INTO outbox (id, key, value) VALUES (?, 'again', '{}')").run(lastId);
console.log(`relayed ${await relay(database, log)}`);

for await (const { value } of log.records()) console.log(String(value));

function placeOrder(db: DatabaseSync, item: string): void {
  db.exec("BEGIN");
  try {
    const { lastInsertRowid: id } = db.prepare("INSERT INTO orders (item) VALUES (?)").run(item);
    const value = JSON.stringify({ type: "order-placed", id: Number(id), item });
    db.prepare("INSERT INTO outbox (key, value) VALUES (?, ?)").run(`order-${id}`, value);
    db.exec("COMMIT");
  } catch (error) {
    db.exec("ROLLBACK");
    throw error;
  }
}

/** Moves what is in the outbox, in its order, and returns how many records it appended. */
async function relay(db: DatabaseSync, to: Log): Promise<number> {
  const relayedId = await findRelayedId(to);
  db.prepare("DELETE FROM outbox WHERE id <= ?").run(relayedId);
  const rows = db.prepare("SELECT id, key, value FROM outbox ORDER BY id LIMIT 100").all() as unknown as OutboxRow[];
  if (rows.length === 0) return 0;
  await to.append(rows.map(({ id, key, value }) => ({ key, value, headers: [{ key: "outbox-id", value: String(id) }] })));
  db.prepare("DELETE FROM outbox WHERE id <= ?").run(rows.at(-1)?.id ?? 0);
  return rows.length;
}

interface OutboxRow {
  readonly id: number;
  readonly key: string;
  readonly value: string;
}

/** The outbox id of the log's last record; 0 for an empty log. */
async function findRelayedId(from: Log): Promise<number> {
  if (from.highWatermark === from.logStartOffset) return 0;
  const { headers } = await from.read(from.highWatermark - 1);
  return Number(headers.find(({ key }) => key === "outbox-id")?.value ?? 0);
}
