// Requests to Holdfast: who sends them, how 429 and 503 are repeated, and the event to buy from.
import http from 'k6/http';
import exec from 'k6/execution';
import { check, sleep } from 'k6';
import { gaveUp, limited, serverErrors, unanswered, unavailable } from './metrics.js';
import { ADMIN_KEY, BASE_URL, EVENT_ID, TOKENS, number } from './settings.js';

const REPETITIONS_MAX = number('REPETITIONS', 3);
const RETRY_AFTER_SECONDS_MAX = 10;
const SEATS_A_ROW = 50;
/** Log lines of one virtual user, and how many virtual users write any: what goes wrong goes wrong often. */
const COMPLAINTS_MAX = 2;
const COMPLAINING_MAX = 10;
let complaints = 0;

// Refusals are answers: k6 counts none of these as failed. What else is wrong with them, checks say.
http.setResponseCallback(
  http.expectedStatuses({ min: 200, max: 399 }, 402, 403, 409, 410, 429, 503),
);

/** Logs an answer that is not as it should be, a few times. */
export function complain(line) {
  if (exec.vu.idInTest <= COMPLAINING_MAX && complaints < COMPLAINTS_MAX) {
    complaints += 1;
    console.error(line);
  }
}

/** The user of this iteration. `run` keeps users of different runs apart. */
export function userOfIteration(run) {
  const turn = exec.scenario.iterationInTest;
  return { id: `${run}-${exec.scenario.name}-${turn}`, token: TOKENS[turn % TOKENS.length] };
}

/** A user who only looks. Limits count those without a name together. */
export function onlooker(run) {
  return { id: `${run}-onlooker`, token: TOKENS[0] };
}

/** The headers that name a user. */
export function identity(user) {
  return user.token ? { Authorization: `Bearer ${user.token}` } : { 'X-User-Id': user.id };
}

/**
 * Sends a request as `user`. After 429 and 503 it waits as long as `Retry-After` says and sends the
 * same again: with an idempotency key that is safe, whatever became of the first.
 */
export function send(user, name, method, path, options = {}) {
  const headers = { Accept: 'application/json', ...identity(user), ...options.headers };
  const body = options.body === undefined ? null : JSON.stringify(options.body);
  if (body) {
    headers['Content-Type'] = 'application/json';
  }
  const params = { headers, tags: { name }, responseType: options.responseType || 'text' };
  for (let turn = 0; ; turn += 1) {
    const response = http.request(method, BASE_URL + path, body, params);
    const isLast = turn >= REPETITIONS_MAX;
    if (!isToRepeat(response, name)) {
      gaveUp.add(false);
      return response;
    }
    if (isLast) {
      gaveUp.add(true);
      return response;
    }
    sleep(Math.min(Number(response.headers['Retry-After']) || 1, RETRY_AFTER_SECONDS_MAX));
  }
}

/** Counts an answer; returns whether it is one after which the request is to be sent again. */
function isToRepeat(response, name) {
  const says = response.headers['Retry-After'] !== undefined;
  if (response.status === 0) {
    unanswered.add(1, { name });
  } else if (response.status === 429) {
    limited.add(1, { name });
    check(response, { '429 says Retry-After': () => says });
    return true;
  } else if (response.status === 503 && says) {
    unavailable.add(1, { name });
    return true;
  } else if (response.status >= 500) {
    serverErrors.add(1, { name });
    complain(`${name}: ${response.status} ${String(response.body).slice(0, 300)}`);
  }
  return false;
}

/** The answer's JSON; null if it is none. */
export function json(response) {
  try {
    return response.json();
  } catch (_) {
    return null;
  }
}

/** Headers of admin requests. On the server's own machine none may be needed. */
export function adminHeaders() {
  const key = ADMIN_KEY ? { 'X-Admin-Key': ADMIN_KEY } : {};
  return { Accept: 'application/json', 'Content-Type': 'application/json', ...key };
}

/** Sends a request as an admin, from `setup` or `teardown`. */
export function administer(method, path, body) {
  const payload = body === undefined ? null : JSON.stringify(body);
  const params = { headers: adminHeaders(), tags: { name: 'admin' } };
  return http.request(method, BASE_URL + path, payload, params);
}

/**
 * The event to buy from: `EVENT_ID`, or a new one with `SEATS` seats. Ends the test with a message
 * if there is no server or the event cannot be made.
 */
export function prepare(name, seats, rules = {}) {
  const ready = http.get(`${BASE_URL}/health/ready`, { tags: { name: 'ready' } });
  if (ready.status !== 200) {
    const found = ready.status ? `answers ${ready.status}` : `does not answer (${ready.error})`;
    exec.test.abort(`${BASE_URL} ${found}. Start Holdfast (make run), or set BASE_URL.`);
  }
  const run = `k6-${Date.now().toString(36)}`;
  if (EVENT_ID) {
    const response = administer('GET', `/api/v1/events/${EVENT_ID}`);
    if (response.status !== 200) {
      exec.test.abort(`EVENT_ID=${EVENT_ID}: ${response.status} ${response.body}`);
    }
    return { run, event: EVENT_ID, total: json(response).total_seats, isOwn: false };
  }
  return { run, ...createEvent(name, seats, rules), isOwn: true };
}

/** A new event: rows of 50 seats, the last one shorter. */
function createEvent(name, seats, rules) {
  const rows = [];
  for (let left = seats; left > 0; left -= SEATS_A_ROW) {
    rows.push({ row: `R${rows.length + 1}`, seats: Math.min(left, SEATS_A_ROW) });
  }
  const event = { name, currency: 'EUR', sections: [{ name: 'Hall', price: 4500, rows }], ...rules };
  const response = administer('POST', '/api/v1/events', event);
  if (response.status !== 201) {
    const mend = [401, 403].includes(response.status) ? ' Set ADMIN_KEY, or EVENT_ID.' : '';
    exec.test.abort(`No event could be made: ${response.status} ${response.body}.${mend}`);
  }
  return { event: json(response).id, total: seats };
}
