import { Offline, Problem } from '../api/http';

const FIRST_MS = 500;
const RETRY_MS_MAX = 8000;

/**
 * How long to wait before the next try, milliseconds: twice as long each time, as long as the server's `Retry-After`
 * says, and not the same on all pages.
 */
export function retryMs(tries: number, error?: unknown): number {
  const asked = error instanceof Problem ? (error.retryAfterSeconds ?? 0) * 1000 : 0;
  return Math.max(asked * (1 + Math.random() / 4), Math.min(RETRY_MS_MAX, FIRST_MS * 2 ** tries) * (0.75 + Math.random() / 2));
}

export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Whether the same request would be answered in the same way again. */
export function isFinal(error: unknown): boolean {
  return error instanceof Problem && error.status < 500 && error.status !== 429 && error.code !== 'in_flight';
}

/** Whether what was asked for may have happened, or may still. */
export function isUnknown(error: unknown): boolean {
  return error instanceof Offline || (error instanceof Problem && (error.code === 'outcome_unknown' || error.code === 'in_flight'));
}
