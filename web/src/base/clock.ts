import { signal } from '@preact/signals';

/** The header has whole seconds, and a server may write the one before. */
const DATE_STEP_MS = 2000;
/** Between these lies what the server's clock is ahead of this device's, milliseconds. */
let least = -Infinity;
let most = Infinity;
let offsetMs = 0;

/**
 * Learns the server's time from an answer's `Date` header, which was written between asking and hearing: each
 * answer bounds the difference of the clocks. A difference that may be none is taken for none, so a slow answer
 * moves no countdown.
 */
export function noteServerDate(date: string | null, sentAt: number, receivedAt: number): void {
  const server = date ? Date.parse(date) : NaN;
  if (!Number.isFinite(server)) return;
  const [low, high] = [server - receivedAt, server + DATE_STEP_MS - sentAt];
  // One of the clocks was set: what was known no longer holds.
  const isNews = low > most || high < least;
  least = isNews ? low : Math.max(least, low);
  most = isNews ? high : Math.min(most, high);
  offsetMs = least <= 0 && most >= 0 ? 0 : (least + most) / 2;
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
