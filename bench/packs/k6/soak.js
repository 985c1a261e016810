// A steady sale for hours: leaks, growing latency, and holds that never come back.
//   DURATION=2h RATE=30 k6 run bench/packs/k6/soak.js
import { check, sleep } from 'k6';
import { json, prepare, send, userOfIteration } from './lib/client.js';
import { buy } from './lib/buyer.js';
import { TREND_STATS, thresholds } from './lib/metrics.js';
import { USER_AGENT, duration, number, seconds } from './lib/settings.js';
import { summarize, value } from './lib/summary.js';

const DURATION = seconds('DURATION', '10m', 5);
const RATE = number('RATE', 10, 0.1);
const USERS = number('USERS', 300, 1);
const SEATS = number('SEATS', 5000, 1);
const HOLD_SECONDS = number('HOLD_SECONDS', 30, 1);
/** Every sale is returned, so that the event never sells out; a tenth of the holds expire. */
const SHARES = { pay: number('PAY', 0.5), cancel: number('CANCEL', 0.4), refund: 1 };
const P99_MS = number('P99_MS', 250, 1);
/** The first and the last fifth are compared. */
const COMPARED = 0.2;
const COUNTS_EVERY_SECONDS = Math.max(1, Math.min(10, DURATION / 20));

/** Buyers of one part of the run; their metrics are tagged with it. */
function part(name, from, to) {
  return {
    executor: 'constant-arrival-rate',
    exec: 'buyer',
    // In tenths of a second, so that rates below one a second work.
    rate: Math.max(1, Math.round(RATE * 10)),
    timeUnit: '10s',
    startTime: duration(DURATION * from),
    duration: duration(DURATION * (to - from)),
    preAllocatedVUs: Math.min(USERS, Math.ceil(RATE * 4)),
    maxVUs: USERS,
    gracefulStop: '60s',
    tags: { part: name },
  };
}

export const options = {
  userAgent: USER_AGENT,
  summaryTrendStats: TREND_STATS,
  scenarios: {
    first: part('first', 0, COMPARED),
    middle: part('middle', COMPARED, 1 - COMPARED),
    last: part('last', 1 - COMPARED, 1),
    counts: {
      executor: 'constant-vus',
      exec: 'counts',
      vus: 1,
      duration: duration(DURATION),
      gracefulStop: '30s',
    },
  },
  thresholds: thresholds({
    'hold_granted_ms{part:first}': [`p(99)<${P99_MS}`],
    'hold_granted_ms{part:last}': [`p(99)<${P99_MS}`],
    'buyers{outcome:returned}': ['count>0'],
    'buyers{outcome:released}': ['count>=0'],
    'buyers{outcome:abandoned}': ['count>=0'],
    // Seats come back, so nobody may find it sold out.
    'buyers{outcome:sold_out}': ['count==0'],
  }),
};

export function setup() {
  return prepare('k6 soak', SEATS, { hold_ttl_seconds: HOLD_SECONDS, cancellation: 'allowed' });
}

/** A buyer of `first`, `middle` or `last`. */
export function buyer(sale) {
  buy(userOfIteration(sale.run), sale, SHARES);
}

/** Looks at the counts from time to time: whatever happens, they add up to the event's seats. */
export function counts(sale) {
  const user = userOfIteration(sale.run);
  const response = send(user, 'availability', 'GET', `/api/v1/events/${sale.event}/availability`);
  if (response.status === 200) {
    const found = json(response);
    check(found, { 'the counts add up': (body) => addUp(body, sale.total) });
  }
  sleep(COUNTS_EVERY_SECONDS);
}

/** With `public_availability = "coarse"` the public gets no numbers. */
function addUp(body, total) {
  if (body.available_seats === undefined) {
    return body.total_seats === total;
  }
  const { available_seats, held_seats, booked_seats, blocked_seats } = body;
  return available_seats + held_seats + booked_seats + blocked_seats === total;
}

export function handleSummary(data) {
  const of = (outcome) => value(data, `buyers{outcome:${outcome}}`);
  const p99 = (name) => {
    const metric = data.metrics[`hold_granted_ms{part:${name}}`];
    return metric && metric.values.count > 0 ? `${metric.values['p(99)'].toFixed(1)} ms` : 'none';
  };
  return summarize('Soak', data, [
    `  holds granted ${value(data, 'holds_granted')}, refused ${value(data, 'holds_refused')}`,
    `  buyers: bought and returned ${of('returned')}, released ${of('released')}, abandoned ${of('abandoned')}`,
    `  p99 of granted holds: in the first fifth ${p99('first')}, in the last ${p99('last')}`,
  ]);
}
