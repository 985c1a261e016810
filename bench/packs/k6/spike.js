// A flash sale's first minute: few look, then everybody comes at once, then it calms down.
//   k6 run bench/packs/k6/spike.js
import { sleep } from 'k6';
import { json, onlooker, prepare, send, userOfIteration } from './lib/client.js';
import { buy } from './lib/buyer.js';
import { TREND_STATS, seatsBooked, thresholds } from './lib/metrics.js';
import { USER_AGENT, duration, number, seconds } from './lib/settings.js';
import { summarize, value } from './lib/summary.js';

const DURATION = seconds('DURATION', '60s');
/** Buyers a second at the peak, and how many there may be at the same time. */
const RATE = number('RATE', 50, 1);
const USERS = number('USERS', 1000, 1);
const QUIET = Math.max(1, Math.round(RATE / 10));
const SHARES = { pay: number('PAY', 0.7), cancel: number('CANCEL', 0.15) };
/** Counts are a moment old. */
const COUNTS_SECONDS = 1.5;

export const options = {
  userAgent: USER_AGENT,
  summaryTrendStats: TREND_STATS,
  scenarios: {
    spike: {
      executor: 'ramping-arrival-rate',
      startRate: QUIET,
      timeUnit: '1s',
      preAllocatedVUs: Math.min(USERS, RATE * 5),
      maxVUs: USERS,
      gracefulStop: '60s',
      stages: [
        { target: QUIET, duration: duration(DURATION * 0.2) },
        { target: RATE, duration: duration(DURATION * 0.05) },
        { target: RATE, duration: duration(DURATION * 0.5) },
        { target: QUIET, duration: duration(DURATION * 0.05) },
        { target: QUIET, duration: duration(DURATION * 0.2) },
      ],
    },
  },
  thresholds: thresholds({
    holds_refused: ['count>=0'],
    'buyers{outcome:bought}': ['count>0'],
    'buyers{outcome:sold_out}': ['count>=0'],
    'buyers{outcome:unlucky}': ['count>=0'],
    'buyers{outcome:released}': ['count>=0'],
    'buyers{outcome:abandoned}': ['count>=0'],
  }),
};

export function setup() {
  return prepare('k6 spike', number('SEATS', 2000, 1));
}

export default function spike(sale) {
  buy(userOfIteration(sale.run), sale, SHARES);
}

export function teardown(sale) {
  sleep(COUNTS_SECONDS);
  const path = `/api/v1/events/${sale.event}/availability`;
  const response = send(onlooker(sale.run), 'availability', 'GET', path);
  const counts = response.status === 200 ? json(response) : {};
  // With `public_availability = "coarse"` the public gets no numbers.
  if (counts.booked_seats !== undefined) {
    seatsBooked.add(counts.booked_seats);
  }
}

export function handleSummary(data) {
  const of = (outcome) => value(data, `buyers{outcome:${outcome}}`);
  const sale = data.setup_data || {};
  const booked = data.metrics.seats_booked ? value(data, 'seats_booked') : 'not told';
  return summarize('Spike', data, [
    `  event ${sale.event}, ${sale.total} seats: sold ${value(data, 'seats_sold')}, counted by the server `
      + `${booked}${sale.isOwn ? '' : ' (with sales of others)'}`,
    `  holds granted ${value(data, 'holds_granted')}, refused ${value(data, 'holds_refused')}`,
    `  buyers: bought ${of('bought')}, released ${of('released')}, abandoned ${of('abandoned')}, `
      + `without luck ${of('unlucky')}, found it sold out ${of('sold_out')}`,
  ]);
}
