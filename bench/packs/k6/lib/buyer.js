// A buyer: looks at the map, holds seats, thinks, and pays, releases or goes away.
import { check, sleep } from 'k6';
import { complain, json, send } from './client.js';
import {
  buyers, confirmMs, granted, grantedMs, refused, refusedMs, seatsReturned, seatsSold,
} from './metrics.js';
import { PAYMENT_METHOD, THINK, number } from './settings.js';
import { choose, seatMap } from './seats.js';

const SEATS_A_BUYER_MAX = 4;
const ATTEMPTS_MAX = number('ATTEMPTS', 3, 1);
const ALTERNATIVES = 3;
const DOUBLE_CLICKS = 0.05;
const DECLINED_CARDS = 0.05;
const STATUS_READS_MAX = 10;
// Refusals of a hold. With another, the check fails and the log has the answer.
const REFUSALS = [
  'seats_unavailable', 'sold_out', 'user_limit', 'orphan_seats', 'in_flight', 'not_on_sale',
  'event_paused', 'event_closed',
];

/** Pauses as long as a person does: exponential, with the mean of `THINK`. */
export function think() {
  if (THINK > 0) {
    sleep(Math.min(-Math.log(1 - Math.random()) * THINK, THINK * 5));
  }
}

/**
 * One buyer from arrival to end. `shares` says how many of those who hold seats pay, release them,
 * and return them after paying; the others go away. Returns and counts the outcome.
 */
export function buy(user, sale, shares, headers = {}) {
  const outcome = visit(user, sale, shares, headers);
  buyers.add(1, { outcome });
  return outcome;
}

function visit(user, sale, shares, headers) {
  const booking = findSeats(user, sale, headers);
  if (typeof booking === 'string') {
    return booking;
  }
  think();
  const turn = Math.random();
  if (turn < shares.pay) {
    return pay(user, booking, Math.random() < (shares.refund || 0));
  }
  return turn < shares.pay + shares.cancel ? cancel(user, booking, 'released') : 'abandoned';
}

/** Looks and tries until seats are held; returns the booking, or why there is none. */
function findSeats(user, sale, headers) {
  const count = 1 + Math.floor(Math.random() * SEATS_A_BUYER_MAX);
  let proposed = null;
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
    let seats = proposed;
    if (!seats) {
      const map = seatMap(user, sale);
      if (!map) {
        return 'no_map';
      }
      seats = choose(map.bytes, count);
      if (seats.length === 0) {
        return 'sold_out';
      }
      think();
    }
    const answer = hold(user, sale, seats, `${user.id}-${attempt}`, headers);
    if (answer.booking) {
      return answer.booking;
    }
    if (!answer.alternatives) {
      return answer.outcome;
    }
    proposed = answer.alternatives[Math.floor(Math.random() * answer.alternatives.length)] || null;
  }
  return 'unlucky';
}

/** Requests seats; returns `{booking}`, `{alternatives}` after a lost race, or `{outcome}`. */
export function hold(user, sale, seats, key, headers = {}) {
  const request = {
    body: { event_id: sale.event, seat_ids: seats },
    headers: { 'Idempotency-Key': key, ...headers },
  };
  const path = `/api/v1/bookings?alternatives=${ALTERNATIVES}`;
  const response = send(user, 'hold', 'POST', path, request);
  const body = json(response);
  if (response.status === 201) {
    grantedMs.add(response.timings.duration);
    granted.add(1);
    check(body, { 'a granted hold has what was requested': (b) => isHold(b, sale, seats) });
    if (Math.random() < DOUBLE_CLICKS) {
      sendAgain(user, path, request, body);
    }
    return { booking: body };
  }
  if (response.status === 409) {
    refusedMs.add(response.timings.duration);
    refused.add(1);
    const isRight = check(response, { 'a refusal says why': () => isRefusal(body, seats) });
    if (!isRight) {
      complain(`hold: ${response.status} ${response.body}`);
    }
    const isLostRace = body && body.error === 'seats_unavailable';
    return isLostRace ? { alternatives: body.alternatives || [] } : { outcome: 'refused' };
  }
  const isExpected = [0, 429, 503].includes(response.status);
  check(response, { 'a hold is granted or refused': () => isExpected || response.status >= 500 });
  if (!isExpected) {
    complain(`hold: ${response.status} ${response.body}`);
  }
  return { outcome: `status_${response.status}` };
}

/** A second click: the same request under the same key is the same booking. */
function sendAgain(user, path, request, booking) {
  const response = send(user, 'hold again', 'POST', path, request);
  if (response.status === 201) {
    check(response, {
      'a repeated hold is the same booking': () => json(response).id === booking.id,
      'a repeated hold says so': () => response.headers['Idempotent-Replayed'] === 'true',
    });
  }
}

function isHold(booking, sale, seats) {
  const ids = booking && booking.seats ? booking.seats.map((seat) => seat.seat_id) : [];
  return booking && typeof booking.id === 'string' && booking.status === 'HOLD'
    && booking.event_id === sale.event && booking.total_amount >= 0
    && Date.parse(booking.hold_expires_at) > 0 && sameNumbers(ids, seats);
}

function isRefusal(body, seats) {
  if (!body || body.status !== 409 || !body.detail || !REFUSALS.includes(body.error)) {
    return false;
  }
  if (body.error !== 'seats_unavailable') {
    return true;
  }
  const named = body.seats || [];
  return sameNumbers(named.map((seat) => seat.id), seats)
    && named.some((seat) => seat.status !== 'AVAILABLE');
}

function sameNumbers(one, other) {
  const sorted = (list) => [...list].sort((a, b) => a - b).join();
  return sorted(one) === sorted(other);
}

/** Pays, one in twenty with a card that is declined first; perhaps returns the seats afterwards. */
function pay(user, booking, isReturned) {
  if (PAYMENT_METHOD === 'card_ok' && Math.random() < DECLINED_CARDS) {
    const declined = confirm(user, booking, 'card_declined');
    check(declined, { 'a declined card is 402': (r) => [402, 429, 503].includes(r.status) });
    think();
  }
  let response = confirm(user, booking, PAYMENT_METHOD);
  if (response.status === 202) {
    response = settled(user, booking);
  }
  if (response.status === 409 || response.status === 410) {
    return 'too_late';
  }
  if (response.status !== 200) {
    check(response, { 'a payment is answered': (r) => [0, 402, 429, 503].includes(r.status) });
    return 'unpaid';
  }
  const sold = json(response);
  if (sold.status === 'CONFIRMING') {
    return 'pending';
  }
  check(sold, { 'a sold booking is CONFIRMED': (b) => b.id === booking.id && b.status === 'CONFIRMED' });
  seatsSold.add(booking.seats.length);
  return isReturned ? cancel(user, booking, 'returned') : 'bought';
}

function confirm(user, booking, method) {
  const response = send(user, 'confirm', 'POST', `/api/v1/bookings/${booking.id}/confirm`, {
    body: { payment_method: method, amount: booking.total_amount },
    headers: { 'Idempotency-Key': `${booking.id}-${method}` },
  });
  if (response.status === 200) {
    confirmMs.add(response.timings.duration);
    check(json(response), { 'a sale has a receipt': (b) => Boolean(b && b.receipt) });
  }
  return response;
}

/** Reads a booking whose payment is under way until it is decided, within bounds. */
function settled(user, booking) {
  let response;
  for (let turn = 0; turn < STATUS_READS_MAX; turn += 1) {
    sleep(0.5);
    response = send(user, 'look', 'GET', `/api/v1/bookings/${booking.id}`);
    if (response.status !== 200 || json(response).status !== 'CONFIRMING') {
      break;
    }
  }
  return response;
}

/** Releases a hold, or returns sold seats. */
function cancel(user, booking, outcome) {
  const path = `/api/v1/bookings/${booking.id}/cancel`;
  const response = send(user, 'cancel', 'POST', path, {
    headers: { 'Idempotency-Key': `${booking.id}-cancel` },
  });
  const isDone = response.status === 200 || response.status === 202;
  if (isDone && outcome === 'returned') {
    seatsReturned.add(booking.seats.length);
  }
  const late = [0, 409, 410, 429, 503];
  check(response, { 'a cancellation is answered': () => isDone || late.includes(response.status) });
  return isDone ? outcome : 'too_late';
}
