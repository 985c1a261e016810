import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { HoldfastError, NoAnswerError, RateLimitedError } from "holdfast-client";
import { client, newEvent, startProxy, type Proxy } from "./support.js";

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
  const available = await client().availability(event.id);
  assert.ok((available.held_seats ?? 0) <= 2, "two seats are held, not four");
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
