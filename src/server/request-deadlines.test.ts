import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import type { IncomingMessage } from "node:http";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../sim/clock.ts";
import { RequestDeadlines } from "./request-deadlines.ts";

describe("the time in which a request must arrive", () => {
  test("ends for one whose body doesn't, and not for one that has none or is lifted", () => {
    const clock = createVirtualClock();
    const due: IncomingMessage[] = [];
    const deadlines = new RequestDeadlines({ clock, requestMs: 100, checkMs: 10, onDue: (request) => due.push(request) });
    const [slow, lifted, bare, done] = [withBody(), withBody(), fakeRequest({}), withBody()];
    for (const request of [slow, lifted, bare, done]) deadlines.start(request);
    deadlines.lift(lifted);
    done.complete = true;
    clock.advance(99);
    assert.deepEqual(due, []);
    clock.advance(11);
    assert.deepEqual(due, [slow]);
    clock.advance(1000);
    assert.deepEqual(due, [slow]);
    assert.equal(clock.timerCount, 0);
  });

  test("begins anew when it is told to", () => {
    const clock = createVirtualClock();
    const due: IncomingMessage[] = [];
    const deadlines = new RequestDeadlines({ clock, requestMs: 100, checkMs: 10, onDue: (request) => due.push(request) });
    const request = withBody();
    deadlines.start(request);
    clock.advance(90);
    deadlines.lift(request);
    clock.advance(1000);
    deadlines.start(request);
    clock.advance(90);
    assert.deepEqual(due, []);
    clock.advance(20);
    assert.deepEqual(due, [request]);
  });

  test("ends with the app: nothing fires behind it, and none begins", () => {
    const clock = createVirtualClock();
    const due: IncomingMessage[] = [];
    const deadlines = new RequestDeadlines({ clock, requestMs: 100, checkMs: 10, onDue: (request) => due.push(request) });
    deadlines.start(withBody());
    deadlines.stop();
    deadlines.start(withBody());
    assert.equal(clock.timerCount, 0);
    clock.advance(1000);
    assert.deepEqual(due, []);
  });

  test("is looked after by one timer, which goes with the last request", () => {
    const clock = createVirtualClock();
    const deadlines = new RequestDeadlines({ clock, requestMs: 100, checkMs: 10, onDue: () => {} });
    const requests = [withBody(), withBody()];
    for (const request of requests) deadlines.start(request);
    assert.equal(clock.timerCount, 1);
    for (const request of requests) request.emit("close");
    assert.equal(clock.timerCount, 0);
    deadlines.start(fakeRequest({}));
    deadlines.start(fakeRequest({ "content-length": "0" }));
    assert.equal(clock.timerCount, 0);
  });
});

function withBody(): IncomingMessage {
  return fakeRequest({ "transfer-encoding": "chunked" });
}

function fakeRequest(headers: Record<string, string>): IncomingMessage {
  return Object.assign(new EventEmitter(), { headers, complete: false, destroyed: false }) as unknown as IncomingMessage;
}
