// The metrics of all scripts, and the thresholds that every script has.
import { Counter, Gauge, Rate, Trend } from 'k6/metrics';
import { number } from './settings.js';

/** Answers to holds: 201 for the first time, and 409. */
export const granted = new Counter('holds_granted');
export const refused = new Counter('holds_refused');
export const grantedMs = new Trend('hold_granted_ms', true);
export const refusedMs = new Trend('hold_refused_ms', true);
export const confirmMs = new Trend('confirm_ms', true);
export const mapMs = new Trend('seat_map_ms', true);

/** How buyers ended, tagged with `outcome`. */
export const buyers = new Counter('buyers');
export const seatsSold = new Counter('seats_sold');
export const seatsReturned = new Counter('seats_returned');
/** Seats that the server counts as sold after the run. */
export const seatsBooked = new Gauge('seats_booked');

/** Answers that no server should give: 5xx, except a 503 that names its Retry-After. */
export const serverErrors = new Counter('server_errors');
/** 503 with Retry-After, 429, and requests without an answer. */
export const unavailable = new Counter('answers_503');
export const limited = new Counter('answers_429');
export const unanswered = new Counter('requests_unanswered');
/** Requests that were still refused by 429 or 503 after all their repetitions. */
export const gaveUp = new Rate('requests_given_up');

/** Thresholds of every script; `P99_MS` is for slower machines. */
export function thresholds(own) {
  const p99 = number('P99_MS', 250, 1);
  return {
    checks: ['rate==1'],
    http_req_failed: ['rate==0'],
    server_errors: ['count==0'],
    requests_unanswered: ['count==0'],
    requests_given_up: ['rate<0.01'],
    holds_granted: ['count>0'],
    hold_refused_ms: [`p(99)<${p99}`],
    hold_granted_ms: [`p(99)<${p99}`],
    ...own,
  };
}

export const TREND_STATS = ['count', 'avg', 'min', 'med', 'p(90)', 'p(95)', 'p(99)', 'max'];
