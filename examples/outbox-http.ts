import { randomInt } from "node:crypto";
import { DatabaseSync } from "node:sqlite";

/**
 * The outbox again (outbox.ts has it with a log in its own process), for a log behind a server and with nothing but `fetch`. An order
 * and the record that tells of it are written in one transaction; a relay then moves the records to the server.
 *
 * The relay may die when the server has appended and the rows are still there, and the server may die before it answers. So the relay
 * numbers what it sends: with its id and the number of the first row, a server that has taken these rows before appends nothing and
 * gives its first answer again. For that, a retry has to be the same batch: up to which row it goes is written down before it is sent.
 *
 * A server remembers a producer's last batches, for a day unless told otherwise: a relay that comes back later than that may append
 * its last batch twice. Who can't have that lets the relay be the only writer, and sends `If-Match` (event-sourcing.ts).
 *
 * `node outbox-http.ts ./shop.sqlite place tea`
 * `node outbox-http.ts ./shop.sqlite relay http://127.0.0.1:8000 orders`, or `relay-and-die`, as after a crash at the worst time
 */
const [file = "./shop.sqlite", command = "relay", ...rest] = process.argv.slice(2);

using database = new DatabaseSync(file);
database.exec(`
  CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, value TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS relay (one INTEGER PRIMARY KEY CHECK (one = 1), producerId INTEGER NOT NULL, sendingTo INTEGER);
  INSERT OR IGNORE INTO relay (one, producerId) VALUES (1, ${randomInt(2 ** 48 - 1)});
`);

if (command === "place") {
  const [item = "tea"] = rest;
  inTransaction(() => {
    const { lastInsertRowid: id } = database.prepare("INSERT INTO orders (item) VALUES (?)").run(item);
    const value = JSON.stringify({ type: "order-placed", id: Number(id), item });
    database.prepare("INSERT INTO outbox (key, value) VALUES (?, ?)").run(`order-${id}`, value);
  });
} else {
  const [server = "http://127.0.0.1:8000", topic = "orders"] = rest;
  const records = new URL(`/v1/topics/${topic}/records?partition=0`, server);
  for (let batch = nextBatch(); batch !== undefined; batch = nextBatch()) {
    const { baseOffset, duplicate } = await send(records, batch);
    if (command === "relay-and-die") process.exit(1);
    forget(batch);
    console.log(`relayed ${batch.rows.length} from offset ${baseOffset} on${duplicate === true ? ", as before" : ""}`);
  }
}

interface Batch {
  readonly producerId: number;
  readonly rows: readonly { readonly id: number; readonly key: string; readonly value: string }[];
}

interface Relayed {
  readonly baseOffset: number;
  /** The server had them already. */
  readonly duplicate?: boolean;
}

/** The rows that were about to be sent when the relay died, else the next hundred. */
function nextBatch(): Batch | undefined {
  database.exec(`
    UPDATE relay SET sendingTo = (SELECT max(id) FROM (SELECT id FROM outbox ORDER BY id LIMIT 100)) WHERE sendingTo IS NULL
  `);
  const { producerId } = database.prepare("SELECT producerId FROM relay").get() as { producerId: number };
  const select = "SELECT id, key, value FROM outbox WHERE id <= (SELECT sendingTo FROM relay) ORDER BY id";
  const rows = database.prepare(select).all() as unknown as Batch["rows"];
  return rows.length === 0 ? undefined : { producerId, rows };
}

/** Ids of an AUTOINCREMENT column have no holes here: a transaction that is rolled back gives its number back. */
async function send(records: URL, { producerId, rows }: Batch): Promise<Relayed> {
  const [first] = rows;
  const response = await fetch(records, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "producer-id": `${producerId}`,
      "producer-epoch": "0",
      "producer-sequence": `${((first?.id ?? 1) - 1) % 2 ** 31}`,
    },
    body: JSON.stringify(rows.map(({ key, value }) => ({ key, value }))),
  });
  if (!response.ok) throw new Error(`Cannot relay: ${await response.text()}`);
  return (await response.json()) as Relayed;
}

function forget({ rows }: Batch): void {
  inTransaction(() => {
    database.prepare("DELETE FROM outbox WHERE id <= ?").run(rows.at(-1)?.id ?? 0);
    database.exec("UPDATE relay SET sendingTo = NULL");
  });
}

function inTransaction(change: () => void): void {
  database.exec("BEGIN IMMEDIATE");
  try {
    change();
    database.exec("COMMIT");
  } catch (error) {
    database.exec("ROLLBACK");
    throw error;
  }
}
