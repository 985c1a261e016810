import type { EventBody } from '../api/types';

/** Whether the operator publishes no counts, only how much is left. */
export function isCoarse(event: EventBody): boolean {
  return event.available_seats === undefined;
}

/** How much is left, in words. As for the server, a tenth is few. */
export function leftWord(free: number, total: number): string {
  return free === 0 ? 'Sold out' : free * 10 <= total ? 'Few left' : 'Available';
}
