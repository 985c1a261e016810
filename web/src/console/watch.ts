import { signal } from '@preact/signals';
import type { EventBody } from '../api/types';
import { serverNow } from '../base/clock';
import { messageOf, type Message } from '../base/words';
import { Feed } from '../live/feed';
import { HELD, House, type Change } from '../live/house';
import { loadRowNames } from '../map/names';
import { makePlan } from '../map/plan';
import { Scene } from '../map/scene';
import { admin } from './admin';

const HOLDS_PAGES_MAX = 10;
const EVENT_EVERY_MS = 5000;

/** One event as the console watches it: seats, what happens to them, its waiting room. */
export class Watch {
  readonly event = signal<EventBody | null>(null);
  readonly scene = signal<Scene | null>(null);
  readonly names = signal(0);
  readonly failure = signal<Message | null>(null);
  house!: House;
  feed: Feed | undefined;
  /** When each seat was held, milliseconds of the server's time; 0: not held, or not known. */
  since!: Float64Array;
  private timers: ReturnType<typeof setInterval>[] = [];
  private isStopped = false;

  constructor(readonly id: number) {}

  async start(): Promise<void> {
    try {
      this.event.value = (await admin.event(this.id)).body;
    } catch (error) {
      this.failure.value = messageOf(error);
      return;
    }
    if (this.isStopped) return;
    const event = this.event.value;
    this.house = new House(event.sections ?? [], event.total_seats);
    this.since = new Float64Array(event.total_seats + 1);
    this.house.listeners.add((changes) => this.note(changes));
    const feed = (this.feed = new Feed(this.id));
    feed.attach(this.house);
    feed.onReconnect = () => void this.refresh();
    feed.onPush = (push) => (push.type === 'event_status' || push.type === 'gap') && void this.refresh();
    this.house.isKnown.subscribe((isKnown) => {
      if (!isKnown || this.scene.value) return;
      const scene = new Scene(this.house, makePlan(this.house.sections, this.house.total, this.house.rowStart), event.currency);
      this.scene.value = scene;
      loadRowNames(scene, this.id).then(
        () => this.names.value++,
        (error) => console.warn('No names of rows', error),
      );
    });
    feed.start();
    this.timers = [setInterval(() => !document.hidden && void this.refresh(), EVENT_EVERY_MS)];
    await Promise.all([this.refresh(), this.readHolds()]);
  }

  stop(): void {
    this.isStopped = true;
    this.feed?.stop();
    this.timers.forEach(clearInterval);
  }

  async refresh(): Promise<void> {
    try {
      this.event.value = (await admin.event(this.id)).body;
    } catch (error) {
      console.warn('Not known right now', error);
    }
  }

  /** Money by count and price. */
  takings(state: 'held' | 'sold'): number {
    return this.house.counts.value.reduce((total, counts, index) => total + counts[state] * (this.house.sections[index]?.price ?? 0), 0);
  }

  private note(changes: Change[]): void {
    const at = serverNow();
    for (const { seat, to } of changes) this.since[seat] = to === HELD ? at : 0;
  }

  /** Since when seats are held that were held before this page opened. */
  private async readHolds(): Promise<void> {
    try {
      let cursor: string | undefined;
      for (let page = 0; page < HOLDS_PAGES_MAX && (page === 0 || cursor); page++) {
        const { body } = await admin.bookings(this.id, { status: 'HOLD', page_size: 200, cursor });
        for (const booking of body.bookings) for (const { seat_id } of booking.seats) this.since[seat_id] ||= Date.parse(booking.created_at);
        cursor = body.next_cursor ?? undefined;
      }
    } catch (error) {
      console.warn('No ages of holds', error);
    }
  }
}
