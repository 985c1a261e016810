// Sells seats through the shop. Needs a running Holdfast: SHOP_HOLDFAST_URL, or port 8000.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { digitsOf, money } from "./public/money.js";
import { createShop } from "./server.js";

const HOLDFAST = process.env.SHOP_HOLDFAST_URL ?? "http://127.0.0.1:8000";
const SETTLE_MS_MAX = 10_000;
const POLL_MS = 50;
const TEST_MS_MAX = 30_000;

let server;
let shop;
let event;

async function createEvent() {
  const created = await fetch(`${HOLDFAST}/api/v1/events`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      name: "Express shop test",
      sections: [{ name: "Stalls", price: 2500, rows: [{ row: "A", seats: 6 }] }],
    }),
  });
  assert.equal(created.status, 201, await created.clone().text());
  return created.json();
}

before(async () => {
  event = await createEvent();
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

const hold = (user, seat_ids, headers, of = event) =>
  ask(user, "POST", "/holds", { event_id: of.id, seat_ids }, headers);

/** A browser's `EventSource`: `next` waits for an event of a name and returns its data. */
async function stream(id) {
  const closing = new AbortController();
  const answer = await fetch(`${shop}/events/${id}/stream`, { headers: { "x-user-id": "reader" }, signal: closing.signal });
  assert.equal(answer.status, 200);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  return {
    close: () => closing.abort(),
    async next(name) {
      for (;;) {
        const found = new RegExp(`event: ${name}\\ndata: (.*)\\n\\n`).exec(text);
        if (found) {
          text = text.slice(found.index + found[0].length);
          return JSON.parse(found[1]);
        }
        const { done, value } = await reader.read();
        assert.ok(!done, `the stream ended before ${name}`);
        text += value;
      }
    },
  };
}

/** Asks again until the status is the wanted one; what is archived or seen elsewhere takes a moment. */
async function until(status, attempt) {
  const deadline = Date.now() + SETTLE_MS_MAX;
  for (;;) {
    const answer = await attempt();
    if (answer.status === status || Date.now() > deadline) return answer;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

async function untilTrue(attempt, what) {
  const deadline = Date.now() + SETTLE_MS_MAX;
  while (!(await attempt())) {
    assert.ok(Date.now() < deadline, what);
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

test("a line: the first buyer is let in, the second waits until the first has paid", { timeout: TEST_MS_MAX }, async () => {
  const opened = await createEvent();
  const enabled = await fetch(`${HOLDFAST}/api/v1/events/${opened.id}/waiting-room/enable?max_concurrent=1`, { method: "POST" });
  assert.equal(enabled.status, 200, await enabled.text());
  const refused = await until(403, () => hold("frank", [1], {}, opened));
  assert.equal(refused.body.error, "waiting_room_required");

  const admitted = async (user) => {
    const joined = await ask(user, "POST", `/events/${opened.id}/line`);
    assert.equal(joined.status, 200, JSON.stringify(joined.body));
    const headers = { "x-waiting-room-token": joined.body.token };
    return { headers, look: () => ask(user, "GET", `/events/${opened.id}/line`, undefined, headers) };
  };
  const frank = await admitted("frank");
  await untilTrue(async () => (await frank.look()).body.admitted, "frank is let in");
  const grace = await admitted("grace");
  assert.equal((await grace.look()).body.status, "queued");
  const held = await hold("frank", [1], frank.headers, opened);
  assert.equal(held.status, 201, JSON.stringify(held.body));
  await until(200, () => ask("frank", "POST", `/holds/${held.body.id}/confirm`, { payment_method: "card_ok" }));
  await untilTrue(async () => (await grace.look()).body.admitted, "grace is let in");
});

test("seats are pushed to every browser over one socket", { timeout: TEST_MS_MAX }, async () => {
  const opened = await createEvent();
  const [first, second] = [await stream(opened.id), await stream(opened.id)];
  try {
    assert.deepEqual(await first.next("seats"), { HOLD: [], BOOKED: [], BLOCKED: [] });
    await second.next("seats");
    const held = await hold("heidi", [3, 4], {}, opened);
    assert.equal(held.status, 201, JSON.stringify(held.body));
    for (const browser of [first, second]) {
      assert.deepEqual(await browser.next("change"), { seat_ids: [3, 4], status: "HOLD" });
    }
  } finally {
    first.close();
    second.close();
  }
});

test("a stream says how the shop's connection is, and ends where there is nothing to follow", { timeout: TEST_MS_MAX }, async () => {
  const first = await stream(event.id);
  try {
    assert.ok(["connecting", "open"].includes((await first.next("connection")).state));
    await first.next("seats");
    const second = await stream(event.id);
    assert.deepEqual(await second.next("connection"), { state: "open" });
    second.close();
  } finally {
    first.close();
  }
  // Again, too: nothing of the first one is left.
  for (let i = 0; i < 2; i++) {
    const nothing = await stream(4_000_000_000);
    await assert.rejects(nothing.next("seats"), /the stream ended/);
  }
});

test("amounts have the digits of ISO 4217", () => {
  const digits = Object.entries({ EUR: 2, HUF: 2, IDR: 2, MGA: 2, TWD: 2, JPY: 0, KRW: 0, ISK: 0, XAF: 0, KWD: 3, IQD: 3 });
  for (const [currency, count] of digits) assert.equal(digitsOf(currency), count, currency);
  assert.match(money(4500, "HUF", "en"), /45\.00/);
  assert.match(money(4500, "JPY", "en"), /4,500$/);
  assert.match(money(4500, "IQD", "en"), /4\.500/);
});

test("the page knows its buyer by a cookie, lists events, and loads nothing from elsewhere", { timeout: TEST_MS_MAX }, async () => {
  const page = await fetch(shop);
  assert.equal(page.status, 200);
  const cookie = page.headers.get("set-cookie").split(";")[0];
  const html = await page.text();
  for (const [, file] of html.matchAll(/(?:src|href)="([^"]+)"/g)) {
    assert.ok(!file.includes("//"), file);
    assert.equal((await fetch(`${shop}/${file}`)).status, 200, file);
  }
  const listed = await fetch(`${shop}/events`, { headers: { cookie } });
  assert.equal(listed.status, 200);
  assert.ok((await listed.json()).events.some((one) => one.id === event.id));
});

test("who does not say who they are is refused", { timeout: TEST_MS_MAX }, async () => {
  const answer = await fetch(`${shop}/events/${event.id}/seats`);
  assert.equal(answer.status, 401);
  assert.equal((await answer.json()).error, "unauthenticated");
});
