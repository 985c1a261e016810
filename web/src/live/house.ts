import { batch, signal } from '@preact/signals';
import type { Section } from '../api/types';

export const FREE = 0;
export const HELD = 1;
export const SOLD = 2;
export const BLOCKED = 3;

/** The format's letters by their lower case. */
const LETTERS: Record<number, number> = { 0x61: FREE, 0x68: HELD, 0x62: SOLD, 0x78: BLOCKED };
const WORDS: Record<string, number> = { AVAILABLE: FREE, HOLD: HELD, BOOKED: SOLD, BLOCKED };
/** Byte 0: the character "1". */
const FORMAT = 0x31;
/** Figures change often enough for eyes; each change of them renders lists. */
const COUNTS_EVERY_MS = 200;

export interface Counts {
  free: number;
  held: number;
  sold: number;
  blocked: number;
}

export interface Change {
  seat: number;
  from: number;
  to: number;
}

/**
 * The seats of one event as this page knows them. `state[n]` is seat n's; ids begin at 1.
 * Messages change it at once; painters hear of it with the next frame, `counts` five times a second.
 */
export class House {
  readonly sections: Section[];
  readonly total: number;
  readonly state: Uint8Array;
  /** Section of each seat. */
  readonly sectionOf: Uint16Array;
  /** 1 where a row or a general-admission section begins. */
  readonly rowStart: Uint8Array;
  /** True once the seats are known. */
  readonly isKnown = signal(false);
  readonly counts = signal<Counts[]>([]);
  readonly all = signal<Counts>({ free: 0, held: 0, sold: 0, blocked: 0 });
  /** Hear of changed seats once a frame; `null`: all of them. */
  readonly painters = new Set<(dirty: Set<number> | null) => void>();
  /** Hears of each batch of changes as it comes. */
  readonly listeners = new Set<(changes: Change[], at: number) => void>();
  private dirty: Set<number> | null = new Set();
  private frame = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private countedAt = 0;
  private readonly tally: Counts[];

  constructor(sections: Section[], total: number) {
    this.sections = sections;
    this.total = total;
    this.state = new Uint8Array(total + 1);
    this.sectionOf = new Uint16Array(total + 1);
    this.rowStart = new Uint8Array(total + 1);
    sections.forEach((section, index) => {
      this.sectionOf.fill(index, section.first_seat_id, section.first_seat_id + section.total_seats);
    });
    this.tally = sections.map((section) => ({ free: section.total_seats, held: 0, sold: 0, blocked: 0 }));
  }

  /** Takes a snapshot: one byte a seat, byte 0 the format. */
  take(bytes: Uint8Array): void {
    if (bytes[0] !== FORMAT) throw new Error(`Unknown seat map format ${bytes[0]}`);
    if (bytes.length !== this.total + 1) throw new Error(`A seat map of ${bytes.length - 1} seats for ${this.total}`);
    const changes: Change[] = [];
    for (let seat = 1; seat <= this.total; seat++) {
      const byte = bytes[seat]!;
      const [from, to] = [this.state[seat]!, LETTERS[byte | 0x20] ?? BLOCKED];
      this.rowStart[seat] = byte < 0x61 ? 1 : 0;
      this.state[seat] = to;
      // The first snapshot changes nothing; a later one has what was not heard in between.
      if (from !== to && this.isKnown.value) changes.push({ seat, from, to });
    }
    this.recount();
    if (changes.length) for (const listener of this.listeners) listener(changes, Date.now());
    if (!this.isKnown.value) performance.mark('seats-known');
    this.isKnown.value = true;
    this.dirty = null;
    this.schedule();
  }

  /** Sets seats to a state. */
  set(seats: number[], word: string): void {
    const to = WORDS[word];
    if (to === undefined) return;
    const changes: Change[] = [];
    for (const seat of seats) {
      const from = this.state[seat];
      if (from === undefined || from === to || seat < 1 || seat > this.total) continue;
      this.state[seat] = to;
      const tally = this.tally[this.sectionOf[seat]!];
      if (tally) {
        tally[NAMES[from]!]--;
        tally[NAMES[to]!]++;
      }
      this.dirty?.add(seat);
      changes.push({ seat, from, to });
    }
    if (!changes.length) return;
    for (const listener of this.listeners) listener(changes, Date.now());
    this.schedule();
  }

  priceOf(seat: number): number {
    return this.sections[this.sectionOf[seat]!]?.price ?? 0;
  }

  private recount(): void {
    for (const tally of this.tally) tally.free = tally.held = tally.sold = tally.blocked = 0;
    for (let seat = 1; seat <= this.total; seat++) {
      const tally = this.tally[this.sectionOf[seat]!];
      if (tally) tally[NAMES[this.state[seat]!]!]++;
    }
  }

  /** Tells once a frame; hidden pages have none, and are told when they are shown. */
  private schedule(): void {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      const dirty = this.dirty;
      this.dirty = new Set();
      if (dirty === null) this.tellCounts();
      else this.timer ??= setTimeout(() => this.tellCounts(), Math.max(0, this.countedAt + COUNTS_EVERY_MS - Date.now()));
      for (const paint of this.painters) paint(dirty);
    });
  }

  private tellCounts(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.countedAt = Date.now();
    const all = { free: 0, held: 0, sold: 0, blocked: 0 };
    for (const tally of this.tally) for (const name of NAMES) all[name] += tally[name];
    batch(() => {
      this.counts.value = this.tally.map((tally) => ({ ...tally }));
      this.all.value = all;
    });
  }
}

const NAMES = ['free', 'held', 'sold', 'blocked'] as const;
