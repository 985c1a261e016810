// Seat maps as bytes (`Accept: application/octet-stream`, docs/API.md, "Seat maps"), and choices.
import { check } from 'k6';
import { complain, send } from './client.js';
import { mapMs } from './metrics.js';

const FORMAT = 0x31;
const LOWER_CASE = 0x20;
const AVAILABLE = 'a'.charCodeAt(0);
/** The byte of each state, in lower case. */
export const BYTES = {
  AVAILABLE,
  HOLD: 'h'.charCodeAt(0),
  BOOKED: 'b'.charCodeAt(0),
  BLOCKED: 'x'.charCodeAt(0),
};

const IS_STATE = new Array(256).fill(false);
for (const byte of Object.values(BYTES)) {
  IS_STATE[byte] = true;
  IS_STATE[byte & ~LOWER_CASE] = true;
}

/** The event's seats as the public sees them: `{version, bytes}`, or null. */
export function seatMap(user, sale) {
  const response = send(user, 'seat map', 'GET', `/api/v1/events/${sale.event}/seats`, {
    headers: { Accept: 'application/octet-stream' },
    responseType: 'binary',
  });
  if (response.status !== 200) {
    const isExpected = [0, 429, 503].includes(response.status);
    check(response, { 'a map is answered': () => isExpected || response.status >= 500 });
    if (!isExpected) {
      complain(`seat map: ${response.status}`);
    }
    return null;
  }
  mapMs.add(response.timings.duration);
  const bytes = new Uint8Array(response.body);
  const version = Number(response.headers['X-Seat-Map-Version']);
  const isWhole = check(response, {
    'the map has every seat': () => bytes.length === sale.total + 1 && bytes[0] === FORMAT,
    'the map has a version': () => version >= 0,
    'every byte is a state': () => areStates(bytes),
  });
  return isWhole ? { version, bytes } : null;
}

/** Whether every byte but the first is a seat's state. */
export function areStates(bytes) {
  for (let seat = 1; seat < bytes.length; seat += 1) {
    if (!IS_STATE[bytes[seat]]) {
      return false;
    }
  }
  return true;
}

/** Sets a seat's state, and leaves its case, which says whether a row begins there. */
export function setState(bytes, seat, status) {
  bytes[seat] = BYTES[status] ^ (~bytes[seat] & LOWER_CASE);
}

/** Ids of `count` free seats side by side, as a buyer picks them; fewer, or none, if there are no more. */
export function choose(bytes, count) {
  const free = [];
  for (let seat = 1; seat < bytes.length; seat += 1) {
    if ((bytes[seat] | LOWER_CASE) === AVAILABLE) {
      free.push(seat);
    }
  }
  if (free.length === 0) {
    return [];
  }
  // Most people want the front: the first tenth of what is free gets almost half of all choices.
  let at = Math.floor(Math.random() ** 3 * free.length);
  const chosen = [free[at]];
  while (chosen.length < count && free[at + 1] === free[at] + 1 && !beginsRow(bytes, free[at + 1])) {
    at += 1;
    chosen.push(free[at]);
  }
  return chosen;
}

/** Whether a row, or a section without rows, begins at a seat. */
function beginsRow(bytes, seat) {
  return (bytes[seat] & LOWER_CASE) === 0;
}
