// A crowd before a waiting room: people join, wait, are let in, buy and leave; some try to skip it.
//   k6 run bench/packs/k6/waiting-room.js
import { check, sleep } from 'k6';
import exec from 'k6/execution';
import { Counter, Trend } from 'k6/metrics';
import { administer, json, prepare, send, userOfIteration } from './lib/client.js';
import { buy } from './lib/buyer.js';
import { TREND_STATS, thresholds } from './lib/metrics.js';
import { USER_AGENT, duration, number, seconds } from './lib/settings.js';
import { summarize, value } from './lib/summary.js';

const DURATION = seconds('DURATION', '60s');
/** People a second who join, and how many there may be at the same time. */
const RATE = number('RATE', 20, 1);
const USERS = number('USERS', 2000, 1);
/** How many may be inside at a time, and how long people wait before they give up. */
const CONCURRENT = number('CONCURRENT', 50, 1);
const PATIENCE = seconds('PATIENCE', '10m');
const SESSION_SECONDS = number('SESSION_SECONDS', 120, 1);
/** The claim window: who does not look within it loses the turn. */
const CLAIM_SECONDS = 30;
/** The share of people who also try to buy without waiting. */
const SKIP = number('SKIP', 0.1);
const SHARES = { pay: number('PAY', 0.7), cancel: number('CANCEL', 0.2) };
const REFRESH_SECONDS_MAX = 60;
const STATUSES = ['queued', 'gathering', 'admitted', 'open', 'sold_out', 'closed'];

const admitted = new Counter('room_admitted');
const ended = new Counter('room_ended');
const waited = new Trend('wait_seconds');
const joinMs = new Trend('join_ms', true);
const statusMs = new Trend('status_ms', true);
const skipped = new Counter('room_skipped');
const turnedAway = new Counter('room_turned_away');

export const options = {
  userAgent: USER_AGENT,
  summaryTrendStats: TREND_STATS,
  scenarios: {
    people: {
      executor: 'constant-arrival-rate',
      rate: RATE,
      timeUnit: '1s',
      duration: duration(DURATION),
      preAllocatedVUs: Math.min(USERS, RATE * 10),
      maxVUs: USERS,
      gracefulStop: duration(PATIENCE + SESSION_SECONDS),
    },
  },
  thresholds: thresholds({
    room_admitted: ['count>0'],
    // A hold without a session must be refused, whoever sends it.
    room_skipped: ['count==0'],
    room_turned_away: ['count>=0'],
    join_ms: [`p(99)<${number('P99_MS', 250, 1)}`],
    status_ms: [`p(99)<${number('P99_MS', 250, 1)}`],
    'room_ended{how:patience}': ['count>=0'],
    'room_ended{how:lost_turn}': ['count>=0'],
    'room_ended{how:sold_out}': ['count>=0'],
    'buyers{outcome:bought}': ['count>0'],
  }),
};

export function setup() {
  const sale = prepare('k6 waiting room', number('SEATS', 2000, 1));
  const path = `/api/v1/events/${sale.event}/waiting-room`;
  const before = json(administer('GET', `${path}/stats`));
  sale.wasOn = Boolean(before && before.enabled);
  if (!sale.wasOn) {
    const room = {
      max_concurrent: CONCURRENT, session_duration: SESSION_SECONDS, claim_window: CLAIM_SECONDS,
    };
    const response = administer('POST', `${path}/enable`, room);
    if (response.status !== 200) {
      exec.test.abort(`The waiting room could not be switched on: ${response.status} ${response.body}`);
    }
    // Every process knows it by then.
    sleep(json(response).effective_within_seconds || 1);
  }
  return sale;
}

export default function person(sale) {
  const user = userOfIteration(sale.run);
  if (Math.random() < SKIP) {
    skip(user, sale);
  }
  const token = wait(user, sale);
  if (token === null) {
    return;
  }
  buy(user, sale, SHARES, token ? { 'X-Waiting-Room-Token': token } : {});
  if (token) {
    send(user, 'leave', 'POST', `/api/v1/events/${sale.event}/waiting-room/leave`, { body: { token } });
  }
}

/** Tries to hold a seat without a session. */
function skip(user, sale) {
  const seat = 1 + Math.floor(Math.random() * sale.total);
  const response = send(user, 'skip', 'POST', '/api/v1/bookings', {
    body: { event_id: sale.event, seat_ids: [seat] },
  });
  if (response.status === 201) {
    skipped.add(1);
  } else if (response.status === 403) {
    turnedAway.add(1);
  }
  check(response, {
    'without a session a hold is refused': (r) => [0, 429, 503].includes(r.status)
      || (r.status === 403 && (json(r) || {}).error === 'waiting_room_required'),
  });
}

/** Joins and waits; returns the token of the session, '' where nobody has to wait, null if it ended. */
function wait(user, sale) {
  const path = `/api/v1/events/${sale.event}/waiting-room`;
  const began = Date.now();
  const joined = send(user, 'join', 'POST', `${path}/join`);
  let status = json(joined);
  if (joined.status !== 200 || !status) {
    check(joined, { 'joining is answered': (r) => [0, 429, 503].includes(r.status) });
    return null;
  }
  joinMs.add(joined.timings.duration);
  const token = status.token;
  let position = Infinity;
  for (;;) {
    const last = position;
    check(status, {
      'a status is one of those documented': (s) => STATUSES.includes(s.status),
      'positions never rise': (s) => s.position === null || s.position <= last,
    });
    position = status.position === null ? position : status.position;
    const ending = endingOf(status, began);
    if (ending !== undefined) {
      return ending === 'in' ? token || '' : null;
    }
    sleep(Math.min(status.refresh_after_seconds, REFRESH_SECONDS_MAX));
    const response = send(user, 'status', 'GET', `${path}/status`, {
      headers: { 'X-Waiting-Room-Token': token },
    });
    if (response.status !== 200) {
      // 403: the turn was lost, as a status came too late.
      check(response, { 'a status is answered': (r) => [0, 403, 429, 503].includes(r.status) });
      ended.add(1, { how: response.status === 403 ? 'lost_turn' : 'unanswered' });
      return null;
    }
    statusMs.add(response.timings.duration);
    status = json(response);
  }
}

/** 'in', 'out', or undefined while one has to wait. Counts how it ended. */
function endingOf(status, began) {
  const seconds = (Date.now() - began) / 1000;
  if (status.admitted || status.status === 'open') {
    admitted.add(1);
    waited.add(seconds);
    return 'in';
  }
  if (status.status === 'sold_out' || status.status === 'closed') {
    ended.add(1, { how: 'sold_out' });
    return 'out';
  }
  if (seconds > PATIENCE) {
    ended.add(1, { how: 'patience' });
    return 'out';
  }
  return undefined;
}

export function teardown(sale) {
  if (!sale.wasOn && !sale.isOwn) {
    administer('POST', `/api/v1/events/${sale.event}/waiting-room/disable`);
  }
}

export function handleSummary(data) {
  const of = (how) => value(data, `room_ended{how:${how}}`);
  return summarize('Waiting room', data, [
    `  let in ${value(data, 'room_admitted')}, gave up ${of('patience')}, lost their turn ${of('lost_turn')}, `
      + `found it sold out ${of('sold_out')}`,
    `  tried to skip: refused ${value(data, 'room_turned_away')}, got seats ${value(data, 'room_skipped')}`,
    `  bought ${value(data, 'buyers{outcome:bought}')}`,
  ]);
}
