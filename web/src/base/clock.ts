import { signal } from '@preact/signals';

/** How far this device's clock is behind the server's, milliseconds. */
let offsetMs = 0;
let bestRoundTripMs = Infinity;

/** Learns the server's time from an answer's `Date` header; the quickest answer is the most exact. */
export function noteServerDate(date: string | null, sentAt: number, receivedAt: number): void {
  const server = date ? Date.parse(date) : NaN;
  const roundTrip = receivedAt - sentAt;
  if (!Number.isFinite(server) || roundTrip > bestRoundTripMs) return;
  bestRoundTripMs = roundTrip;
  // The header has whole seconds: on average half of one has passed. Below two seconds it is no news.
  const offset = server + 500 - (sentAt + receivedAt) / 2;
  offsetMs = Math.abs(offset) < 2000 ? 0 : offset;
}

/** The server's time, milliseconds. */
export function serverNow(): number {
  return Date.now() + offsetMs;
}

/** The server's time, renewed four times a second while somebody reads it. */
export const now = signal(serverNow());
let ticking: ReturnType<typeof setInterval> | undefined;

/** Starts the ticking of `now`. */
export function startClock(): void {
  ticking ??= setInterval(() => {
    now.value = serverNow();
  }, 250);
}
