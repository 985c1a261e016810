// Sells seats through the shop. Needs a running Holdfast: SHOP_HOLDFAST_URL, or port 8000.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { createShop } from "./server.js";

const HOLDFAST = process.env.SHOP_HOLDFAST_URL ?? "http://127.0.0.1:8000";
const SETTLE_MS_MAX = 10_000;
const POLL_MS = 50;
const TEST_MS_MAX = 30_000;

let server;
let shop;
let event;

before(async () => {
  const created = await fetch(`${HOLDFAST}/api/v1/events`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      name: "Express shop test",
      sections: [{ name: "Stalls", price: 2500, rows: [{ row: "A", seats: 6 }] }],
    }),
  });
  assert.equal(created.status, 201, await created.clone().text());
  event = await created.json();
  await new Promise((resolve) => (server = createShop(HOLDFAST).listen(0, "127.0.0.1", resolve)));
  shop = `http://127.0.0.1:${server.address().port}`;
});

after(() => server?.close());

/** Asks the shop as a buyer. */
async function ask(user, method, path, body, headers = {}) {
  const answer = await fetch(shop + path, {
    method,
    headers: { "x-user-id": user, "content-type": "application/json", ...headers },
    body: body && JSON.stringify(body),
  });
  return { status: answer.status, headers: answer.headers, body: await answer.json().catch(() => null) };
}

const hold = (user, seat_ids, headers) =>
  ask(user, "POST", "/holds", { event_id: event.id, seat_ids }, headers);

/** Asks again until the status is the wanted one; what is archived or seen elsewhere takes a moment. */
async function until(status, attempt) {
  const deadline = Date.now() + SETTLE_MS_MAX;
  for (;;) {
    const answer = await attempt();
    if (answer.status === status || Date.now() > deadline) return answer;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

test("a sale: list, hold, refuse the second buyer, confirm", { timeout: TEST_MS_MAX }, async () => {
  const listed = await ask("alice", "GET", `/events/${event.id}/seats`);
  assert.equal(listed.status, 200);
  assert.equal(listed.body.seats.length, 6);
  assert.equal(listed.body.seats[0].status, "AVAILABLE");

  const held = await hold("alice", [1, 2]);
  assert.equal(held.status, 201, JSON.stringify(held.body));
  assert.equal(held.body.status, "HOLD");
  assert.equal(held.body.total_amount, 5000);

  const refused = await hold("bob", [2, 3]);
  assert.equal(refused.status, 409);
  assert.match(refused.headers.get("content-type"), /^application\/problem\+json/);
  assert.equal(refused.body.error, "seats_unavailable");

  const paid = await until(200, () =>
    ask("alice", "POST", `/holds/${held.body.id}/confirm`, { payment_method: "card_ok" }));
  assert.equal(paid.status, 200, JSON.stringify(paid.body));
  assert.equal(paid.body.status, "CONFIRMED");
  assert.equal(paid.body.receipt.booking_id, held.body.id);
  assert.equal(paid.body.receipt.amount, 5000);
});

test("a retry under the same key gets the same hold", { timeout: TEST_MS_MAX }, async () => {
  const key = { "idempotency-key": randomUUID() };
  const first = await hold("carol", [4], key);
  const second = await hold("carol", [4], key);
  assert.equal(first.status, 201, JSON.stringify(first.body));
  assert.equal(second.body.id, first.body.id);
  assert.equal(second.headers.get("idempotent-replayed"), "true");
});

test("a cancelled hold frees its seats", { timeout: TEST_MS_MAX }, async () => {
  const held = await hold("dave", [5, 6]);
  assert.equal(held.status, 201, JSON.stringify(held.body));
  const cancelled = await ask("dave", "DELETE", `/holds/${held.body.id}`);
  assert.ok(cancelled.status < 300, JSON.stringify(cancelled.body));
  const taken = await until(201, () => hold("erin", [5, 6]));
  assert.equal(taken.status, 201, JSON.stringify(taken.body));
});

test("who does not say who they are is refused", { timeout: TEST_MS_MAX }, async () => {
  const answer = await fetch(`${shop}/events/${event.id}/seats`);
  assert.equal(answer.status, 401);
  assert.equal((await answer.json()).error, "unauthenticated");
});
