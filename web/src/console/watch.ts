import { signal } from '@preact/signals';
import type { EventBody, RoomStats } from '../api/types';
import { messageOf, type Message } from '../base/words';
import { Feed } from '../live/feed';
import { FREE, HELD, House, SOLD, type Change } from '../live/house';
import { loadRowNames } from '../map/names';
import { makePlan } from '../map/plan';
import { Scene } from '../map/scene';
import { admin } from './admin';

/** Seats that changed together. */
export interface Entry {
  at: number;
  kind: 'held' | 'sold' | 'back' | 'blocked';
  seats: number[];
}

const LOG_MAX = 60;
const SERIES_EVERY_MS = 3000;
const SERIES_MAX = 300;
const EVENT_EVERY_MS = 5000;

/** One event as the console watches it: seats, what happens to them, its waiting room. */
export class Watch {
  readonly event = signal<EventBody | null>(null);
  readonly scene = signal<Scene | null>(null);
  readonly names = signal(0);
  readonly failure = signal<Message | null>(null);
  readonly room = signal<RoomStats | null>(null);
  readonly log = signal<Entry[]>([]);
  /** Free, held, sold over time. */
  readonly series = signal<{ at: number; free: number; held: number; sold: number; queue: number }[]>([]);
  house!: House;
  feed: Feed | undefined;
  /** Holds of each seat, and how often it came back, since this page opened. */
  holds!: Uint16Array;
  returns!: Uint16Array;
  /** When each seat was last held, milliseconds; 0: not seen. */
  since!: Float64Array;
  readonly openedAt = Date.now();
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
    this.holds = new Uint16Array(event.total_seats + 1);
    this.returns = new Uint16Array(event.total_seats + 1);
    this.since = new Float64Array(event.total_seats + 1);
    this.house.listeners.add((changes, at) => this.note(changes, at));
    const feed = (this.feed = new Feed(this.id));
    feed.attach(this.house);
    feed.onReconnect = () => void this.refresh();
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
    this.timers = [setInterval(() => !document.hidden && void this.refresh(), EVENT_EVERY_MS), setInterval(() => this.point(), SERIES_EVERY_MS)];
    await this.refresh();
  }

  stop(): void {
    this.isStopped = true;
    this.feed?.stop();
    this.timers.forEach(clearInterval);
  }

  async refresh(): Promise<void> {
    try {
      const [event, room] = await Promise.all([admin.event(this.id), admin.roomStats(this.id)]);
      this.event.value = event.body;
      this.room.value = room.body;
    } catch (error) {
      console.warn('Not known right now', error);
    }
  }

  /** Money by count and price. */
  takings(state: 'held' | 'sold'): number {
    return this.house.counts.value.reduce((total, counts, index) => total + counts[state] * (this.house.sections[index]?.price ?? 0), 0);
  }

  private note(changes: Change[], at: number): void {
    const entries: Entry[] = [];
    for (const { seat, from, to } of changes) {
      if (to === HELD) {
        this.holds[seat]!++;
        this.since[seat] = at;
      } else this.since[seat] = 0;
      if (from === HELD && to === FREE) this.returns[seat]!++;
      const kind = to === HELD ? 'held' : to === SOLD ? 'sold' : to === FREE ? 'back' : 'blocked';
      const last = entries[entries.length - 1];
      // Neighbours in one row that changed together are one entry: one booking, as a rule.
      const isBeside = last && last.kind === kind && last.seats[last.seats.length - 1] === seat - 1 && !this.house.rowStart[seat];
      if (isBeside) last.seats.push(seat);
      else entries.push({ at, kind, seats: [seat] });
    }
    this.log.value = [...entries.reverse(), ...this.log.value].slice(0, LOG_MAX);
  }

  private point(): void {
    if (!this.house.isKnown.value) return;
    const { free, held, sold } = this.house.all.value;
    this.series.value = [...this.series.value.slice(-SERIES_MAX), { at: Date.now(), free, held, sold, queue: this.room.value?.queue_size ?? 0 }];
  }
}
