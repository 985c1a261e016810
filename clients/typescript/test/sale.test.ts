import assert from "node:assert/strict";
import { test } from "node:test";
import {
  AdmissionInvalidError, BookingExpiredError, PaymentDeclinedError, ProblemError, SeatsUnavailableError, WaitingRoomRequiredError,
  type QueueStatus,
} from "holdfast-client";
import { admin, client, newEvent, until } from "./support.js";

const TEST_MS_MAX = 60_000;

test("a whole sale: join, admitted, hold, conflict with alternatives, pay, cancel", { timeout: TEST_MS_MAX }, async () => {
  const event = await newEvent();
  const open = await client().waitForAdmission(event.id);
  assert.deepEqual([open.token, open.status.status], [undefined, "open"], "without a waiting room nobody waits");
  await admin().enableWaitingRoom(event.id, { max_concurrent: 1, session_duration: 60, claim_window: 60 });
  const [ann, bob] = [client(), client()];
  await assert.rejects(ann.hold({ event_id: event.id, seat_ids: [3] }), WaitingRoomRequiredError);

  const inside = await ann.waitForAdmission(event.id);
  assert.equal(inside.status.status, "admitted");
  const held = await ann.hold({ event_id: event.id, seat_ids: [3, 4] }, { waitingRoomToken: inside.token });
  assert.equal(held.status, "HOLD");
  assert.equal(held.total_amount, 5000);

  // Bob waits behind Ann until she is done: a purchase ends her session.
  const seen: QueueStatus[] = [];
  const waiting = bob.waitForAdmission(event.id, { onStatus: (status) => seen.push(status) });
  const extended = await ann.extend(held.id);
  assert.ok(extended.hold_expires_at >= held.hold_expires_at);
  await assert.rejects(ann.confirm(held.id, { payment_method: "card_declined" }), PaymentDeclinedError);
  const sold = await ann.confirm(held.id, { payment_method: "card_ok", amount: 5000 });
  assert.equal(sold.status, "CONFIRMED");
  assert.equal(sold.receipt?.booking_id, held.id);
  assert.equal(sold.receipt?.amount, 5000);
  const his = await waiting;
  assert.ok(seen.some((status) => status.status === "queued" || status.status === "admitted"));

  const token = { waitingRoomToken: his.token };
  const ask = () => bob.hold({ event_id: event.id, seat_ids: [4, 5] }, { alternatives: 2, ...token });
  const refusal = async (): Promise<SeatsUnavailableError> => {
    const error = await ask().then(() => assert.fail("seat 4 was sold twice"), (error: unknown) => error);
    assert.ok(error instanceof SeatsUnavailableError);
    return error;
  };
  // Alternatives come from a view of the seats, which has them in a moment.
  const conflict = await until(refusal, ({ alternatives }) => alternatives.length > 0);
  assert.equal(conflict.code, "seats_unavailable");
  assert.deepEqual(conflict.seats.find((seat) => seat.id === 4), { id: 4, status: "BOOKED" });
  assert.equal(conflict.traceId.length, 32);
  const [nearest] = conflict.alternatives;
  assert.equal(nearest?.length, 2);
  const other = await bob.hold({ event_id: event.id, seat_ids: nearest }, token);
  assert.equal((await bob.cancel(other.id)).status, "CANCELLED");

  // A sale is cancelled once the archive has that.
  const cancelled = await ann.cancel(held.id);
  assert.equal(cancelled.status, "CANCELLED");
  await assert.rejects(ann.confirm(held.id), (error: unknown) => error instanceof ProblemError && error.code === "booking_cancelled");
  const mine = await ann.listBookings();
  assert.equal(mine.bookings[0]?.id, held.id);
});

test("the best seats together, an expired hold, a stranger's booking", { timeout: TEST_MS_MAX }, async () => {
  const event = await admin().createEvent({
    name: "Short holds", hold_ttl_seconds: 1, max_hold_seconds: 1,
    sections: [{ name: "Stalls", price: 1000, rows: [{ row: "A", seats: 6 }] }],
  });
  const [ann, bob] = [client(), client()];
  const held = await ann.hold({ event_id: event.id, quantity: 3 });
  assert.equal(held.seats.length, 3);
  await assert.rejects(bob.getBooking(held.id), (error: unknown) => error instanceof ProblemError && error.status === 404);
  const follower = bob.follow(event.id);
  try {
    // The hold may end before the first snapshot, too.
    await follower.next("snapshot");
    if (follower.seats?.of(1) !== "AVAILABLE") {
      await follower.next("seat_update", (message) => message.status === "AVAILABLE" && message.seat_ids.includes(1));
    }
  } finally {
    follower.close();
  }
  await assert.rejects(ann.confirm(held.id), BookingExpiredError);
});

test("waiting ends with an invalid token, an abort, and the end of the sale", { timeout: TEST_MS_MAX }, async () => {
  const event = await newEvent();
  await admin().enableWaitingRoom(event.id, { max_concurrent: 1, session_duration: 10, claim_window: 5 });
  const [ann, bob] = [client(), client()];
  await assert.rejects(ann.waitForAdmission(event.id, { token: "v1.forged" }), AdmissionInvalidError);
  await ann.waitForAdmission(event.id);
  const given = new AbortController();
  const waits = bob.waitForAdmission(event.id, { signal: given.signal, onStatus: () => given.abort(new Error("given up")) });
  await assert.rejects(waits, /given up/);
  await admin().changeEvent(event.id, { off_sale_at: new Date(Date.now() + 500).toISOString() });
  await assert.rejects(bob.waitForAdmission(event.id), (error: unknown) =>
    error instanceof Error && (error.name === "SaleOverError" || (error instanceof ProblemError && error.code === "event_closed")));
});

test("lists are read page by page", { timeout: TEST_MS_MAX }, async () => {
  const event = await newEvent();
  const ids: number[] = [];
  for await (const one of client().events({ page_size: 1 })) ids.push(one.id);
  assert.ok(ids.includes(event.id));
  assert.equal(new Set(ids).size, ids.length);
});
