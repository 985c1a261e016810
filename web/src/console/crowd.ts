import { signal } from '@preact/signals';
import { Problem, send, type Answer } from '../api/http';
import { newKey } from '../api/identity';
import type { Booking, EventBody, HoldRequest, Joined, QueueStatus } from '../api/types';
import { messageOf, type Message } from '../base/words';
import { admin } from './admin';
import type { VerifyVerdict } from './types';

/** Simulated buyers, for development servers that take a page's word for who is who. */
export const BUYERS = 300;
const CALLS_AT_ONCE = 6;
const DURATION_MS_MAX = 120_000;
/** They do not come all at once. */
const ARRIVAL_MS = 15_000;
const THINK_MS = 2500;
const TRIES_MAX = 3;
/** What becomes of a hold: paid, given up, or left to lapse. */
const PAY = 0.75;
const GIVE_UP = 0.1;
const ROOM = { max_concurrent: 60, session_duration: 20, claim_window: 10 };
const rows = (names: string, seats: number) => [...names].map((row) => ({ row, seats }));
const SECTIONS = [
  { name: 'Stalls', price: 8900, rows: rows('ABCDEFGHIJ', 24) },
  { name: 'Circle', price: 6500, rows: rows('ABCDEFGH', 26) },
  { name: 'Balcony', price: 3900, rows: rows('ABCDEF', 28) },
];

export interface Tally {
  /** Buyers that have gone home. */
  gone: number;
  held: number;
  refused: number;
  paid: number;
  declined: number;
  givenUp: number;
  failed: number;
}

interface Buyer {
  name: string;
  /** When it does its next step, milliseconds. */
  due: number;
  step: (buyer: Buyer) => Promise<void>;
  token?: string;
  booking?: Booking;
  tries: number;
}

const later = (ms: number) => Date.now() + ms * (0.6 + Math.random() * 0.8);

/** A bounded crowd that buys a new event over HTTP, from this page. It ends by itself. */
export class Crowd {
  readonly state = signal<'opening' | 'selling' | 'checking' | 'done'>('opening');
  readonly event = signal<EventBody | null>(null);
  readonly tally = signal<Tally>({ gone: 0, held: 0, refused: 0, paid: 0, declined: 0, givenUp: 0, failed: 0 });
  readonly verdict = signal<VerifyVerdict | null>(null);
  readonly failure = signal<Message | null>(null);
  private isStopped = false;
  private buyers: Buyer[] = [];
  private rowStarts: { first: number; seats: number }[] = [];

  /** Opens an event, sells it to the crowd, and verifies what came of it. */
  async run(): Promise<void> {
    try {
      await this.open();
      this.state.value = 'selling';
      await Promise.all(Array.from({ length: CALLS_AT_ONCE }, () => this.work(Date.now() + DURATION_MS_MAX)));
      this.state.value = 'checking';
      this.verdict.value = (await admin.verify(this.event.value!.id)).body;
    } catch (error) {
      this.failure.value = messageOf(error);
    }
    this.state.value = 'done';
  }

  /** Sends everybody home. Held seats come back by themselves. */
  stop(): void {
    this.isStopped = true;
  }

  private async open(): Promise<void> {
    const { body } = await admin.createEvent({ name: 'A sale to watch', venue: 'Holdfast Hall', currency: 'EUR', hold_ttl_seconds: 30, max_hold_seconds: 300, sections: SECTIONS });
    await admin.roomOn(body.id, ROOM);
    let first = 1;
    for (const { seats } of SECTIONS.flatMap((section) => section.rows)) {
      this.rowStarts.push({ first, seats });
      first += seats;
    }
    this.buyers = Array.from({ length: BUYERS }, (_, i) => ({ name: `crowd-${body.id}-${i + 1}`, due: Date.now() + Math.random() ** 2 * ARRIVAL_MS, step: this.join, tries: 0 }));
    this.event.value = body;
  }

  /** Takes whoever is due, one step at a time, until all have gone home. */
  private async work(until: number): Promise<void> {
    while (this.buyers.length && !this.isStopped && Date.now() < until) {
      this.buyers.sort((a, b) => a.due - b.due);
      const buyer = this.buyers[0]!;
      const wait = buyer.due - Date.now();
      if (wait > 0) {
        await new Promise((resolve) => setTimeout(resolve, Math.min(wait, 200)));
        continue;
      }
      // Nobody else takes this buyer meanwhile.
      buyer.due = Infinity;
      await buyer.step(buyer).catch((error: unknown) => this.troubled(buyer, error));
    }
  }

  private count(name: keyof Tally): void {
    this.tally.value = { ...this.tally.value, [name]: this.tally.value[name] + 1 };
  }

  private leave(buyer: Buyer): void {
    this.buyers = this.buyers.filter((one) => one !== buyer);
    this.count('gone');
  }

  private next(buyer: Buyer, step: Buyer['step'], afterMs: number): void {
    buyer.step = step;
    buyer.due = later(afterMs);
  }

  /** Busy servers are asked again; whom another answer surprises goes home. */
  private troubled(buyer: Buyer, error: unknown): void {
    const isBusy = !(error instanceof Problem) || error.status === 429 || error.status >= 500;
    if (isBusy && ++buyer.tries <= TRIES_MAX) {
      buyer.due = later(((error instanceof Problem ? error.retryAfterSeconds : undefined) ?? 2) * 1000);
      return;
    }
    this.count('failed');
    this.leave(buyer);
  }

  private call<T>(buyer: Buyer, path: string, body: unknown): Promise<Answer<T>> {
    const token = buyer.token ? { 'X-Waiting-Room-Token': buyer.token } : {};
    return send<T>(`/api/v1${path}`, { method: 'POST', body, headers: { 'X-User-Id': buyer.name, 'Idempotency-Key': newKey(), ...token } });
  }

  private readonly join = async (buyer: Buyer): Promise<void> => {
    const { body } = await this.call<Joined>(buyer, `/events/${this.event.value!.id}/waiting-room/join`, {});
    buyer.token = body.token;
    this.placed(buyer, body);
  };

  private readonly wait = async (buyer: Buyer): Promise<void> => {
    const path = `/api/v1/events/${this.event.value!.id}/waiting-room/status`;
    this.placed(buyer, (await send<QueueStatus>(path, { headers: { 'X-Waiting-Room-Token': buyer.token! } })).body);
  };

  private placed(buyer: Buyer, status: QueueStatus): void {
    if (status.status === 'sold_out' || status.status === 'closed') this.leave(buyer);
    else if (status.status === 'admitted' || status.status === 'open') this.next(buyer, this.hold, THINK_MS);
    else this.next(buyer, this.wait, status.refresh_after_seconds * 1000);
  }

  private readonly hold = async (buyer: Buyer): Promise<void> => {
    try {
      const { body } = await this.call<Booking>(buyer, '/bookings?alternatives=2', this.wish());
      buyer.booking = body;
      this.count('held');
      const chance = Math.random();
      if (chance < PAY) this.next(buyer, this.pay, THINK_MS);
      else if (chance < PAY + GIVE_UP) this.next(buyer, this.giveUp, THINK_MS);
      else this.leave(buyer);
    } catch (error) {
      if (!(error instanceof Problem) || error.status === 429 || error.status >= 500) throw error;
      this.count('refused');
      if (++buyer.tries > TRIES_MAX || error.code === 'sold_out') this.leave(buyer);
      else this.next(buyer, this.hold, THINK_MS);
    }
  };

  /** A few seats side by side, most often near the front and the middle; or the best that are free. */
  private wish(): HoldRequest {
    const event_id = this.event.value!.id;
    const quantity = 1 + Math.floor(Math.random() ** 1.5 * 4);
    if (Math.random() < 0.4) return { event_id, quantity, together: true };
    const row = this.rowStarts[Math.floor(Math.random() ** 2 * this.rowStarts.length)]!;
    const middle = (Math.random() + Math.random() + Math.random()) / 3;
    const offset = Math.min(row.seats - quantity, Math.floor(middle * row.seats));
    return { event_id, seat_ids: Array.from({ length: quantity }, (_, i) => row.first + offset + i) };
  }

  private readonly pay = async (buyer: Buyer): Promise<void> => {
    const { id, total_amount } = buyer.booking!;
    try {
      await this.call(buyer, `/bookings/${id}/confirm`, { payment_method: Math.random() < 0.05 ? 'card_declined' : 'card_ok', amount: total_amount });
      this.count('paid');
      this.leave(buyer);
    } catch (error) {
      if (!(error instanceof Problem) || error.code !== 'payment_declined') throw error;
      this.count('declined');
      this.next(buyer, this.pay, THINK_MS);
    }
  };

  private readonly giveUp = async (buyer: Buyer): Promise<void> => {
    await this.call(buyer, `/bookings/${buyer.booking!.id}/cancel`, {});
    this.count('givenUp');
    this.leave(buyer);
  };
}

/** The crowd that was released from this page; it goes on while other pages of the console are looked at. */
export const crowd = signal<Crowd | null>(null);
