import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { HoldfastError, NoAnswerError, RateLimitedError, UnexpectedAnswerError } from "holdfast-client";
import { admin, client, newEvent, startProxy, until, type Proxy } from "./support.js";

const TEST_MS_MAX = 30_000;
const RETRY = { firstPauseMs: 20 };
let proxy: Proxy;

before(async () => {
  proxy = await startProxy();
});
after(() => proxy.close());
beforeEach(() => {
  proxy.requests = [];
  proxy.interfere = () => undefined;
});

function refuseOnce(status: number, error: string, headers: Record<string, string> = {}): void {
  let refusals = 1;
  proxy.interfere = (_, response) => {
    if (refusals-- <= 0) return undefined;
    const problem = { type: `urn:holdfast:problem:${error}`, title: error, status, detail: error, error, trace_id: "0".repeat(32) };
    response.writeHead(status, { "content-type": "application/problem+json", ...headers }).end(JSON.stringify(problem));
    return "handled";
  };
}

test("a hold whose reply is lost is sent again under its key, and is one hold", { timeout: TEST_MS_MAX }, async () => {
  const event = await newEvent();
  const ann = client({ baseUrl: proxy.url, retry: RETRY });
  let losses = 1;
  proxy.interfere = () => (losses-- > 0 ? "lose reply" : undefined);
  const held = await ann.hold({ event_id: event.id, quantity: 2 });
  assert.equal(proxy.requests.length, 2);
  const keys = proxy.requests.map((request) => request.headers["idempotency-key"]);
  assert.ok(keys[0] && keys[0] === keys[1]);
  // Two seats, not four. The count may come from a view that is a moment old: until it has the hold.
  const available = await until(() => client().availability(event.id), ({ held_seats }) => (held_seats ?? 0) > 0);
  assert.equal(available.held_seats, 2);
  assert.equal((await ann.getBooking(held.id)).seats.length, 2);
});

test("Retry-After is kept", { timeout: TEST_MS_MAX }, async () => {
  const event = await newEvent();
  refuseOnce(429, "rate_limit_exceeded", { "retry-after": "1" });
  const began = Date.now();
  await client({ baseUrl: proxy.url, retry: RETRY }).getEvent(event.id);
  assert.ok(Date.now() - began >= 1000);
  assert.equal(proxy.requests.length, 2);
});

test("a Retry-After beyond the longest pause is thrown, with its time", { timeout: TEST_MS_MAX }, async () => {
  refuseOnce(429, "rate_limit_exceeded", { "retry-after": "3600" });
  await assert.rejects(client({ baseUrl: proxy.url }).listEvents(), (error: unknown) =>
    error instanceof RateLimitedError && error.retryAfterMs === 3_600_000);
  assert.equal(proxy.requests.length, 1);
});

test("an event whose creation is in doubt is not created twice", { timeout: TEST_MS_MAX }, async () => {
  proxy.interfere = () => "lose reply";
  const sections = [{ name: "Floor", price: 1, capacity: 1 }];
  await assert.rejects(client({ baseUrl: proxy.url, retry: RETRY }).createEvent({ name: "Once", sections }), NoAnswerError);
  assert.equal(proxy.requests.length, 1);
});

/** Answers so many requests as a proxy does whose server is away. */
function badGateway(times: number): void {
  proxy.interfere = (_, response) => {
    if (times-- <= 0) return undefined;
    response.writeHead(502, { "content-type": "text/html" }).end("<h1>Bad gateway</h1>");
    return "handled";
  };
}

test("a proxy's 502 is sent again, but not where that could happen twice", { timeout: TEST_MS_MAX }, async () => {
  const event = await newEvent();
  const ann = client({ baseUrl: proxy.url, retry: RETRY });
  badGateway(2);
  const held = await ann.hold({ event_id: event.id, seat_ids: [1] });
  assert.equal(held.status, "HOLD");
  assert.equal(new Set(proxy.requests.map((request) => request.headers["idempotency-key"])).size, 1);
  assert.equal(proxy.requests.length, 3);
  badGateway(1);
  const sections = [{ name: "Floor", price: 1, capacity: 1 }];
  await assert.rejects(ann.createEvent({ name: "Once", sections }), (error: unknown) =>
    error instanceof UnexpectedAnswerError && error.status === 502);
});

test("a proxy's 502 does not end the waiting: the place is the same", { timeout: TEST_MS_MAX }, async () => {
  const event = await newEvent();
  await admin().enableWaitingRoom(event.id, { max_concurrent: 1, session_duration: 60, claim_window: 60 });
  const ann = client({ baseUrl: proxy.url, retry: { attempts: 1 } });
  const { token } = await ann.joinWaitingRoom(event.id);
  assert.ok(token);
  proxy.requests = [];
  badGateway(2);
  const inside = await ann.waitForAdmission(event.id, { token });
  assert.equal(inside.status.status, "admitted");
  assert.ok(proxy.requests.length >= 3 && proxy.requests.every((request) => request.url?.includes("/status")));
});

test("an expired token is renewed once", { timeout: TEST_MS_MAX }, async () => {
  const tokens = ["old", "new"];
  let renewals = 0;
  proxy.interfere = (request, response) => {
    const isOld = request.headers.authorization === "Bearer old";
    if (isOld) {
      refuseOnce(401, "token_expired");
      return proxy.interfere(request, response);
    }
    delete request.headers.authorization; // the server under test takes names
    return undefined;
  };
  await client({ baseUrl: proxy.url, token: () => tokens[renewals++] ?? "none" }).listEvents().catch((error: unknown) => {
    // A server without tokens refuses the new one: what matters is that it was sent.
    assert.ok(error instanceof HoldfastError);
  });
  assert.equal(renewals, 2);
});

test("a server that does not answer is no answer, within the time limit", { timeout: TEST_MS_MAX }, async () => {
  proxy.interfere = () => "handled";
  const impatient = client({ baseUrl: proxy.url, timeoutMs: 100, retry: { attempts: 2, firstPauseMs: 10 } });
  await assert.rejects(impatient.listEvents(), NoAnswerError);
  assert.equal(proxy.requests.length, 2);
});
