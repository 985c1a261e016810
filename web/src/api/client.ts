import { send, type Answer } from './http';
import { newKey, userHeaders } from './identity';
import type * as Api from './types';

const API = '/api/v1';

/** Routes for anybody. */
export const pub = {
  event: (id: number) => send<Api.EventBody>(`${API}/events/${id}`),
  events: (query = '') => send<Api.EventList>(`${API}/events?page_size=100${query}`),
  seats: (id: number) => send<{ seats: Api.SeatBody[] }>(`${API}/events/${id}/seats`),
  seatBytes: (id: number, etag?: string) =>
    send<Uint8Array<ArrayBuffer>>(`${API}/events/${id}/seats`, {
      headers: { Accept: 'application/octet-stream', ...(etag ? { 'If-None-Match': etag } : {}) },
      as: 'bytes',
    }),
};

export interface Sent {
  key: string;
  admission?: string | undefined;
}

/** Routes for the buyer. */
export const buyer = {
  hold: (body: Api.HoldRequest, { key, admission }: Sent) =>
    send<Api.Booking>(`${API}/bookings?alternatives=2`, {
      method: 'POST',
      body,
      headers: { ...userHeaders(), 'Idempotency-Key': key, ...(admission ? { 'X-Waiting-Room-Token': admission } : {}) },
    }),
  booking: (id: string) => send<Api.Booking>(`${API}/bookings/${id}`, { headers: userHeaders() }),
  bookings: () => send<Api.BookingList>(`${API}/bookings?page_size=100`, { headers: userHeaders() }),
  pay: (id: string, method: string, amount: number, key: string) =>
    send<Api.Booking>(`${API}/bookings/${id}/confirm`, {
      method: 'POST',
      body: { payment_method: method, amount },
      headers: { ...userHeaders(), 'Idempotency-Key': key },
    }),
  socketTicket: (event: number) =>
    send<{ ticket: string }>(`${API}/events/${event}/socket-ticket`, { method: 'POST', headers: userHeaders(), timeoutMs: 5000 }),
  extend: (id: string) => act(id, 'extend'),
  cancel: (id: string) => act(id, 'cancel'),
};

function act(id: string, verb: 'extend' | 'cancel'): Promise<Answer<Api.Booking>> {
  return send<Api.Booking>(`${API}/bookings/${id}/${verb}`, {
    method: 'POST',
    body: {},
    headers: { ...userHeaders(), 'Idempotency-Key': newKey() },
  });
}

const room = (event: number, verb: string) => `${API}/events/${event}/waiting-room/${verb}`;

/** The waiting room. */
export const waiting = {
  join: (event: number) => send<Api.Joined>(room(event, 'join'), { method: 'POST', body: {}, headers: userHeaders() }),
  status: (event: number, token: string) => send<Api.QueueStatus>(room(event, 'status'), { headers: { 'X-Waiting-Room-Token': token } }),
  leave: (event: number, token: string) =>
    send<{ message: string }>(room(event, 'leave'), { method: 'POST', body: {}, headers: { 'X-Waiting-Room-Token': token } }),
  stats: (event: number) => send<Api.RoomStats>(room(event, 'stats')),
};
