import { KiB } from "../../src/base/units.ts";
import { medianOf } from "../spread.ts";
import type { DriverAnswer, FillOrder, ProduceOrder, ReadOrder } from "./driver.ts";
import type { PeerClient } from "./peer.ts";

/**
 * Sends, and sends again for each that is acknowledged, so that as many as were asked for are always outstanding. The rate is of
 * all records over all the time until the last is acknowledged. No promise is added to those that the client makes itself: what
 * is measured is the client, and a caller of its own for each record would cost a third of the fastest.
 */
export async function closedLoop(client: PeerClient, order: ProduceOrder): Promise<DriverAnswer> {
  const { topic, recordsPerSend, outstanding, seconds } = order;
  const send = senderOf(client, order);
  // Connections are made and topics known before the clock runs.
  await send(topic);
  if (outstanding === 1) return oneAtATime(() => send(topic), seconds);

  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const start = performance.now();
  const end = start + 1000 * seconds;
  let acknowledged = 0;
  let underWay = 0;
  let isOver = false;
  const next = (): void => {
    underWay += 1;
    send(topic).then(acknowledge, reject);
  };
  const acknowledge = (): void => {
    underWay -= 1;
    acknowledged += 1;
    // The clock is asked now and then only: it costs as much as handing over a record.
    if (acknowledged % 32 === 0 && performance.now() >= end) isOver = true;
    if (!isOver) next();
    else if (underWay === 0) resolve();
  };
  for (let i = 0; i < Math.ceil(outstanding / recordsPerSend); i += 1) next();
  await promise;
  return { recordsPerSecond: (acknowledged * recordsPerSend * 1000) / (performance.now() - start) };
}

async function oneAtATime(send: () => Promise<unknown>, seconds: number): Promise<DriverAnswer> {
  const durations: number[] = [];
  const start = performance.now();
  for (let before = start; before < start + 1000 * seconds; ) {
    await send();
    const after = performance.now();
    durations.push(after - before);
    before = after;
  }
  const sorted = durations.toSorted((a, b) => a - b);
  const p99 = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.99))] ?? Number.NaN;
  return {
    recordsPerSecond: (1000 * durations.length) / (performance.now() - start),
    p50Us: 1000 * medianOf(sorted),
    p99Us: 1000 * p99,
  };
}

/** Something to read. */
export async function fill(client: PeerClient, { topic, recordBytes, count }: FillOrder): Promise<void> {
  const recordsPerSend = client.sendBatch === undefined ? 1 : recordsPerBatch(recordBytes);
  const send = senderOf(client, { recordBytes, recordsPerSend });
  let left = Math.ceil(count / recordsPerSend);
  const caller = async (): Promise<void> => {
    for (; left > 0; ) {
      left -= 1;
      await send(topic);
    }
  };
  await Promise.all(Array.from({ length: client.sendBatch === undefined ? 1000 : 4 }, caller));
}

/** As fast as it comes. */
export async function readAll(client: PeerClient, { topic, count }: ReadOrder): Promise<DriverAnswer> {
  let taken = 0;
  let start = Number.NaN;
  let end = Number.NaN;
  const begins = (): void => {
    start = performance.now();
  };
  const took = (records: number): void => {
    taken += records;
    if (taken >= count && Number.isNaN(end)) end = performance.now();
  };
  await client.read(topic, count, { begins, took });
  return { recordsPerSecond: (count * 1000) / (end - start) };
}

/** As many as make a batch of a sensible size, below the 256 KiB at which ours divides them, and no more than JetStream takes. */
export function recordsPerBatch(recordBytes: number): number {
  return Math.min(1000, Math.floor((200 * KiB) / recordBytes));
}

function senderOf(
  client: PeerClient,
  { recordBytes, recordsPerSend }: { readonly recordBytes: number; readonly recordsPerSend: number },
): (topic: string) => Promise<unknown> {
  const value = Buffer.alloc(recordBytes, "0123456789abcdef");
  if (recordsPerSend === 1) return (topic) => client.send(topic, value);
  const values = Array.from({ length: recordsPerSend }, () => value);
  return async (topic) => {
    if (client.sendBatch === undefined) throw new Error("this client has no batches");
    await client.sendBatch(topic, values);
  };
}
