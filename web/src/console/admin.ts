import { computed, signal } from '@preact/signals';
import { send, Problem, type RequestOptions } from '../api/http';
import type * as Api from '../api/types';
import { tab } from '../base/storage';
import type * as Admin from './types';

const API = '/api/v1';
/** The server gives up after two minutes. */
const CHECK_MS_MAX = 130_000;

/** The admin key: in this tab's memory, never elsewhere. Empty where the server needs none. */
export const key = signal(tab.get('admin') ?? '');
export const access = signal<'unknown' | 'open' | 'key' | 'needed' | 'wrong'>('unknown');
export const isIn = computed(() => access.value === 'open' || access.value === 'key');

export function setKey(value: string): void {
  key.value = value;
  tab.set('admin', value || null);
}

/** A server without keys takes any for one, and acts for a booking's owner only with one. */
function keyHeader(): Record<string, string> {
  const shown = key.value || (access.value === 'open' ? 'open' : '');
  return shown ? { 'X-Admin-Key': shown } : {};
}

function call<T>(path: string, options: RequestOptions = {}) {
  const headers = { ...options.headers, ...keyHeader() };
  return send<T>(`${API}${path}`, { ...options, headers }).catch((error: unknown) => {
    if (error instanceof Problem && error.code === 'admin_key_wrong') access.value = 'wrong';
    if (error instanceof Problem && error.code === 'admin_key_missing') access.value = 'needed';
    throw error;
  });
}

/** Whose key it is; `null` before it is known. */
export const operator = signal<Admin.Whoami | null>(null);

/** Finds out whether the key is one. */
export async function checkAccess(): Promise<void> {
  try {
    operator.value = (await call<Admin.Whoami>('/admin/whoami')).body;
    access.value = operator.value.is_open ? 'open' : 'key';
  } catch (error) {
    if (!(error instanceof Problem) || (error.status !== 401 && error.status !== 403)) throw error;
  }
}

const post = <T>(path: string, body: unknown) => call<T>(path, { method: 'POST', body });

export const admin = {
  events: (cursor: string | null) => call<Api.EventList>(`/events${query({ page_size: 100, cursor: cursor ?? undefined })}`),
  event: (id: number) => call<Api.EventBody>(`/events/${id}`),
  createEvent: (body: unknown) => post<Api.EventBody>('/events', body),
  changeEvent: (id: number, body: Partial<Api.EventBody>) => call<Api.EventBody>(`/events/${id}`, { method: 'PATCH', body }),
  block: (id: number, seat_ids: number[], reason: string) => post<{ changed: number }>(`/events/${id}/blocks`, { seat_ids, reason }),
  release: (id: number, seat_ids: number[], reason: string) => post<{ changed: number }>(`/events/${id}/blocks/release`, { seat_ids, reason }),
  roomOn: (id: number, settings: Api.RoomSettings) => post<{ message: string; effective_within_seconds: number }>(`/events/${id}/waiting-room/enable`, settings),
  roomOff: (id: number) => post<{ message: string }>(`/events/${id}/waiting-room/disable`, {}),
  cancelBooking: (id: string) => post<Api.Booking>(`/bookings/${id}/cancel`, {}),
  sales: (id: number, status = 'CONFIRMED') => call<string>(`/events/${id}/sales.csv?status=${status}`, { as: 'text', headers: { Accept: 'text/csv' }, timeoutMs: 120_000 }),
  overview: (id?: number) => call<Admin.Overview>(`/admin/overview${query({ event_id: id })}`),
  bookings: (id: number, filter: { status?: string; user_id?: string; cursor?: string | undefined; page_size?: number }) => call<Admin.AdminBookings>(`/admin/events/${id}/bookings${query(filter)}`),
  search: (q: string, event_id?: number) => call<Admin.SearchResult>(`/admin/search${query({ q, event_id })}`),
  detail: (id: string) => call<Admin.BookingDetail>(`/admin/bookings/${encodeURIComponent(id)}`),
  demand: (id: number) => call<Admin.Demand>(`/admin/events/${id}/demand`),
  report: (id: number) => call<Admin.SaleReport>(`/admin/events/${id}/report`),
  verify: (event_id: number) => call<Admin.VerifyVerdict>('/admin/checks/verify', { method: 'POST', body: { event_id }, timeoutMs: CHECK_MS_MAX }),
  reconcile: (event_id: number, fix = false) => call<Admin.ReconcileVerdict>('/admin/checks/reconcile', { method: 'POST', body: { event_id, fix }, timeoutMs: CHECK_MS_MAX }),
  limits: () => call<Admin.Limits>('/admin/limits'),
  changeLimits: (change: { rule?: string; mode: string }) => call<Admin.Limits>('/admin/limits', { method: 'PATCH', body: change }),
  accessLists: () => call<Admin.Access>('/admin/access'),
  deadLetters: () => call<Admin.DeadLetters>('/admin/dead-letters?page_size=200'),
  replay: (id: string) => post<Admin.Replayed>(`/admin/dead-letters/${encodeURIComponent(id)}/replay`, {}),
  audit: (filter: { who?: string | undefined; cursor?: string | undefined }) => call<{ acts: Admin.AuditAct[]; next_cursor: string | null }>(`/admin/audit${query(filter)}`),
  rooms: () => call<{ rooms: Admin.NamedRoom[] }>('/admin/waiting-rooms'),
  /** Lines of an event's log as they are written, until the signal ends it. */
  log: (id: number, signal: AbortSignal) => fetch(`${API}/admin/events/${id}/log`, { signal, headers: { Accept: 'application/x-ndjson', ...keyHeader() } }),
};

/** "?a=1&b=2" of what is given. */
function query(values: Record<string, string | number | undefined>): string {
  const given = Object.entries(values).flatMap(([name, value]) => (value === undefined || value === '' ? [] : [[name, String(value)]]));
  return given.length ? `?${new URLSearchParams(given)}` : '';
}
