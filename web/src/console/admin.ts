import { computed, signal } from '@preact/signals';
import { send, Problem, type RequestOptions } from '../api/http';
import type * as Api from '../api/types';
import { tab } from '../base/storage';

const API = '/api/v1';

/** The admin key: in this tab's memory, never elsewhere. Empty where the server needs none. */
export const key = signal(tab.get('admin') ?? '');
export const access = signal<'unknown' | 'open' | 'key' | 'needed' | 'wrong'>('unknown');
export const isIn = computed(() => access.value === 'open' || access.value === 'key');

export function setKey(value: string): void {
  key.value = value;
  tab.set('admin', value || null);
}

function call<T>(path: string, options: RequestOptions = {}) {
  // A server without keys takes any for one, and acts for a booking's owner only with one.
  const shown = key.value || (access.value === 'open' ? 'open' : '');
  const headers = { ...options.headers, ...(shown ? { 'X-Admin-Key': shown } : {}) };
  return send<T>(`${API}${path}`, { ...options, headers }).catch((error: unknown) => {
    if (error instanceof Problem && error.code === 'admin_key_wrong') access.value = 'wrong';
    if (error instanceof Problem && error.code === 'admin_key_missing') access.value = 'needed';
    throw error;
  });
}

/** No event has this id. */
const NO_EVENT = 4_294_967_295;

/** Finds out whether the key is one: by a route that only admins may read. */
export async function checkAccess(): Promise<void> {
  try {
    await call(`/events/${NO_EVENT}/blocks?page_size=1`);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status === 401 || error.status === 403) return;
    // The key is looked at first: no such event, or no archive, says that it was accepted.
    if (error.status !== 404 && error.status < 500) throw error;
  }
  access.value = key.value ? 'key' : 'open';
}

const post = <T>(path: string, body: unknown) => call<T>(path, { method: 'POST', body });

export const admin = {
  events: () => call<Api.EventList>('/events?page_size=100'),
  event: (id: number) => call<Api.EventBody>(`/events/${id}`),
  createEvent: (body: unknown) => post<Api.EventBody>('/events', body),
  changeEvent: (id: number, body: Partial<Api.EventBody>) => call<Api.EventBody>(`/events/${id}`, { method: 'PATCH', body }),
  block: (id: number, seat_ids: number[], reason: string) => post<{ changed: number }>(`/events/${id}/blocks`, { seat_ids, reason }),
  release: (id: number, seat_ids: number[], reason: string) => post<{ changed: number }>(`/events/${id}/blocks/release`, { seat_ids, reason }),
  blocks: (id: number) => call<{ blocks: Api.Block[] }>(`/events/${id}/blocks?page_size=1000`),
  roomStats: (id: number) => call<Api.RoomStats>(`/events/${id}/waiting-room/stats`),
  roomOn: (id: number, settings: Api.RoomSettings) => post<{ message: string; effective_within_seconds: number }>(`/events/${id}/waiting-room/enable`, settings),
  roomOff: (id: number) => post<{ message: string }>(`/events/${id}/waiting-room/disable`, {}),
  booking: (id: string) => call<Api.Booking>(`/bookings/${id}`),
  bookingsOf: (user: string, cursor?: string) =>
    call<Api.BookingList>(`/bookings?page_size=50&user_id=${encodeURIComponent(user)}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`),
  cancelBooking: (id: string) => post<Api.Booking>(`/bookings/${id}/cancel`, {}),
  sales: (id: number, status = 'CONFIRMED') => call<string>(`/events/${id}/sales.csv?status=${status}`, { as: 'text', headers: { Accept: 'text/csv' }, timeoutMs: 120_000 }),
  health: () => send<Api.Health>('/health'),
  metrics: () => send<string>('/metrics', { as: 'text', headers: { Accept: 'text/plain' } }),
};
