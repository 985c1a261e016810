// Followers on WebSockets while buyers hold and release seats. Every follower keeps the seats from
// what it is sent, reconnects once with `?since=`, and compares them with the seat map at the end.
//   k6 run bench/packs/k6/sockets.js
import { check } from 'k6';
import { b64decode } from 'k6/encoding';
import { Counter, Trend } from 'k6/metrics';
import ws from 'k6/ws';
import { complain, identity, prepare, userOfIteration } from './lib/client.js';
import { buy } from './lib/buyer.js';
import { TREND_STATS, thresholds } from './lib/metrics.js';
import { areStates, seatMap, setState } from './lib/seats.js';
import { BASE_URL, EVENT_ID, USER_AGENT, duration, number, seconds } from './lib/settings.js';
import { summarize, value } from './lib/summary.js';

const DURATION = seconds('DURATION', '60s', 2);
/** Followers: an address may have 200 sockets, except on the server's own machine. */
const USERS = number('USERS', 100, 1);
/** Buyers a second: each hold and each release is an update. */
const RATE = number('RATE', 5, 0.1);
const SHARES = { pay: number('PAY', 0.3), cancel: 1 };
/** Followers compare while nothing changes: no more buyers come in the last fifth. */
const BUYERS_SHARE = 0.8;
const SETTLE_SECONDS = 1;
/** A user may look 20 times a minute. */
const COMPARISONS_MAX = 10;

const opened = new Counter('sockets_opened');
const snapshots = new Counter('snapshots');
const updates = new Counter('updates');
const gaps = new Counter('gaps');
const resumed = new Counter('sockets_resumed');
const socketErrors = new Counter('socket_errors');
const compared = new Counter('maps_compared');
const updateMs = new Trend('update_ms', true);

export const options = {
  userAgent: USER_AGENT,
  summaryTrendStats: TREND_STATS,
  scenarios: {
    followers: {
      executor: 'per-vu-iterations',
      exec: 'follower',
      vus: USERS,
      iterations: 1,
      maxDuration: duration(DURATION + 60),
    },
    buyers: {
      executor: 'constant-arrival-rate',
      exec: 'buyer',
      rate: Math.max(1, Math.round(RATE * 10)),
      timeUnit: '10s',
      duration: duration(DURATION * BUYERS_SHARE),
      preAllocatedVUs: Math.ceil(RATE * 4),
      maxVUs: Math.ceil(RATE * 40),
    },
  },
  thresholds: thresholds({
    sockets_opened: ['count>0'],
    snapshots: ['count>0'],
    updates: ['count>0'],
    sockets_resumed: ['count>0'],
    socket_errors: ['count==0'],
    // An event that others buy from may never be quiet.
    maps_compared: [EVENT_ID ? 'count>=0' : 'count>0'],
    gaps: ['count>=0'],
    update_ms: [`p(99)<${number('UPDATE_P99_MS', 1000, 1)}`],
  }),
};

export function setup() {
  return prepare('k6 sockets', number('SEATS', 1000, 1));
}

export function buyer(sale) {
  buy(userOfIteration(sale.run), sale, SHARES);
}

/** Follows for half of the time, connects again from there, and compares at the end. */
export function follower(sale) {
  const user = userOfIteration(sale.run);
  const view = { bytes: null, version: 0, resume: '', mapVersion: -1 };
  follow(user, sale, view, DURATION / 2, (close) => close());
  follow(user, sale, view, DURATION / 2, (close, socket) => {
    let turns = 0;
    socket.setInterval(() => {
      turns += 1;
      if (turns > COMPARISONS_MAX || isCompared(user, sale, view)) {
        close();
      }
    }, SETTLE_SECONDS * 1000);
  });
}

/** Opens a socket, follows, and calls `end(close, socket)` after the time. */
function follow(user, sale, view, time, end) {
  const since = view.resume ? `?since=${view.resume}` : '';
  const url = `${BASE_URL.replace(/^http/, 'ws')}/ws/events/${sale.event}${since}`;
  const params = { headers: identity(user), tags: { name: 'socket' } };
  const response = ws.connect(url, params, (socket) => {
    const state = { isResuming: since !== '', hasPong: false, isEnding: false };
    socket.on('open', () => {
      opened.add(1);
      socket.send(JSON.stringify({ type: 'ping' }));
    });
    socket.on('message', (text) => take(JSON.parse(text), sale, view, state));
    socket.on('error', (error) => {
      // k6 reports its own close, too.
      if (!state.isEnding) {
        socketErrors.add(1);
        complain(`socket: ${error.error()}`);
      }
    });
    socket.setTimeout(() => {
      check(state, { 'a ping is answered': (s) => s.hasPong });
      end(() => {
        state.isEnding = true;
        socket.close();
      }, socket);
    }, time * 1000);
  });
  const isOpened = check(response, { 'the socket opens (101)': (r) => r && r.status === 101 });
  if (!isOpened) {
    complain(`socket: ${response && response.status} ${response && response.body}`);
  }
}

/** Applies a message, as docs/API.md, "Live updates", says. */
function take(message, sale, view, state) {
  if (message.type === 'snapshot') {
    takeSnapshot(message, sale, view, state);
  } else if (message.type === 'seat_update') {
    takeUpdate(message, view, state);
  } else if (message.type === 'gap') {
    gaps.add(1);
    view.bytes = null;
    view.resume = '';
    state.isResuming = false;
  } else if (message.type === 'pong') {
    state.hasPong = true;
  } else if (message.type === 'connected') {
    check(message, { 'connected names the event': (m) => m.event_id === sale.event });
    // Nothing has changed meanwhile, so nothing will be sent: that is resuming, too.
    if (state.isResuming && message.version === view.version) {
      noteResumed(state);
    }
  } else if (message.type === 'error') {
    check(message, { 'no error is sent': () => false });
    complain(`socket: ${message.error} ${message.detail}`);
  }
  view.resume = message.resume && message.type !== 'connected' ? message.resume : view.resume;
}

function noteResumed(state) {
  resumed.add(1);
  state.isResuming = false;
}

function takeSnapshot(message, sale, view, state) {
  snapshots.add(1);
  const bytes = new Uint8Array(b64decode(message.bytes));
  check(message, {
    'a snapshot has every seat': () => bytes.length === sale.total + 1 && areStates(bytes),
    'a resumed socket gets no snapshot': () => !state.isResuming,
  });
  view.bytes = bytes;
  view.version = message.version;
}

function takeUpdate(message, view, state) {
  updates.add(1);
  if (state.isResuming) {
    noteResumed(state);
  }
  const delay = Date.now() - Date.parse(message.timestamp);
  // Only where both clocks agree.
  if (delay >= 0) {
    updateMs.add(delay);
  }
  const version = view.version;
  check(message, {
    'an update follows what was seen': (m) => m.since <= version,
    'versions do not fall': (m) => m.version >= version,
    'an update names seats': (m) => m.seat_ids.length > 0,
  });
  if (view.bytes) {
    message.seat_ids.forEach((seat) => setState(view.bytes, seat, message.status));
  }
  view.version = Math.max(version, message.version);
}

/**
 * Compares the seats with the map, if nothing has changed for a while, so that no message is on the
 * way. The map's version may be above: it also counts what changes no seat's state.
 */
function isCompared(user, sale, view) {
  const map = seatMap(user, sale);
  const isQuiet = map !== null && map.version === view.mapVersion && map.version >= view.version;
  view.mapVersion = map ? map.version : -1;
  if (!isQuiet || !view.bytes) {
    return false;
  }
  compared.add(1);
  const different = map.bytes.findIndex((byte, seat) => byte !== view.bytes[seat]);
  const isSame = check(map, { 'the followed seats are those of the map': () => different === -1 });
  if (!isSame) {
    complain(`seat ${different} at version ${map.version} is not as followed`);
  }
  return true;
}

export function handleSummary(data) {
  return summarize('Sockets', data, [
    `  sockets opened ${value(data, 'sockets_opened')}, resumed ${value(data, 'sockets_resumed')}, `
      + `snapshots ${value(data, 'snapshots')}, updates ${value(data, 'updates')}, gaps ${value(data, 'gaps')}`,
    `  followed seats compared with the map: ${value(data, 'maps_compared')} times`,
    `  holds granted ${value(data, 'holds_granted')}, refused ${value(data, 'holds_refused')}`,
  ]);
}
