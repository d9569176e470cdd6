/**
 * An account that is nothing but its events. A command reads them, decides, and appends what happened on the condition that nothing
 * has happened since it read: `If-Match` with the offset at which it stopped reading. When something has, the answer is 412; the
 * command reads on from there and decides again, on what is the case now. No lock, and no balance below zero.
 *
 * The condition is on a whole partition: so what must be decided one after the other, an aggregate, has a topic of its own.
 *
 * `node event-sourcing.ts http://127.0.0.1:8000 account-7`
 */
const [server = "http://127.0.0.1:8000", topic = "account-7"] = process.argv.slice(2);
const records = new URL(`/v1/topics/${topic}/records`, server);

type AccountEvent =
  | { readonly kind: "opened"; readonly deposit: number }
  | { readonly kind: "withdrawn"; readonly amount: number };

/** What the events up to `nextOffset` come to. */
interface Account {
  readonly nextOffset: number;
  readonly balance: number;
}

const nothing: Account = { nextOffset: 0, balance: 0 };

await append(nothing, { kind: "opened", deposit: 100 });
const seen = await readOn(nothing);
console.log(`balance ${seen.balance}`);
// Both decide on the same balance, and only one of them can be right.
const outcomes = await Promise.all([withdraw(seen, 80), withdraw(seen, 80)]);
console.log(outcomes.sort().join("\n"));
console.log(`balance ${(await readOn(seen)).balance}`);

/** Decides on the account as it is known, and again for as long as somebody else was faster. */
async function withdraw(known: Account, amount: number): Promise<string> {
  for (let account = known, tries = 1; ; account = await readOn(account), tries += 1) {
    if (account.balance < amount) return `refused at try ${tries}: ${amount} of ${account.balance}`;
    if (await append(account, { kind: "withdrawn", amount })) return `withdrawn at try ${tries}: ${amount}`;
  }
}

/** False when the account isn't any more what was decided on. */
async function append({ nextOffset }: Account, event: AccountEvent): Promise<boolean> {
  const response = await fetch(records, {
    method: "POST",
    headers: { "content-type": "application/json", "if-match": `"${nextOffset}"` },
    body: JSON.stringify({ value: JSON.stringify(event) }),
  });
  if (response.status === 412) return false;
  if (!response.ok) throw new Error(`Cannot append: ${await response.text()}`);
  return true;
}

async function readOn(account: Account): Promise<Account> {
  for (let { nextOffset, balance } = account; ; ) {
    const response = await fetch(`${records.href}?from=${nextOffset}`);
    if (!response.ok) throw new Error(`Cannot read: ${await response.text()}`);
    const read = (await response.json()) as { records: { value: string }[]; nextOffset: number; highWatermark: number };
    for (const { value } of read.records) balance = apply(balance, JSON.parse(value) as AccountEvent);
    nextOffset = read.nextOffset;
    if (nextOffset >= read.highWatermark) return { nextOffset, balance };
  }
}

function apply(balance: number, event: AccountEvent): number {
  return event.kind === "opened" ? balance + event.deposit : balance - event.amount;
}
