import { computed, signal } from '@preact/signals';
import { buyer, pub } from '../api/client';
import { Problem } from '../api/http';
import { user } from '../api/identity';
import type { Booking, EventBody, EventStatus, HoldRequest } from '../api/types';
import { serverNow } from '../base/clock';
import { isFinal, retryMs, sleep } from '../base/retry';
import { device } from '../base/storage';
import { messageOf, type Message } from '../base/words';
import { Feed, type Push } from '../live/feed';
import { FREE, House, type Change } from '../live/house';
import { loadRowNames } from '../map/names';
import { makePlan } from '../map/plan';
import { Scene } from '../map/scene';
import { resumeHold } from './hold';
import { Room } from './room';

export interface Conflict {
  taken: number[];
  alternatives: number[][];
  /** So many seats were wanted. */
  wanted: number;
  /** A number of seats was asked for, not these seats. */
  isBest: boolean;
}

/** While nothing is pushed. */
const EVENT_POLL_MS = 10_000;
/** What all pages hear at once they do not ask about at once. */
const SPREAD_MS = 3000;
/** Timers cannot be set for longer. */
const TIMER_MS_MAX = 86_400_000;
const NAMES_LATER_SEATS = 3000;
const NAMES_LATER_MS = 1500;

/** One buyer and one event: what is shown, and what may be done. */
export class Sale {
  readonly event = signal<EventBody | null>(null);
  readonly failure = signal<Message | null>(null);
  readonly scene = signal<Scene | null>(null);
  /** Rises when names of rows have come. */
  readonly names = signal(0);
  readonly mode = signal<'map' | 'best'>('map');
  readonly chosen = signal<number[]>([]);
  /** Places of one general-admission section instead of seats. */
  readonly general = signal<{ section: number; quantity: number } | null>(null);
  readonly best = signal<{ quantity: number; together: boolean; maxPrice: number | null }>({ quantity: 2, together: true, maxPrice: null });
  /** Chosen seats that someone else has taken. */
  readonly taken = signal<ReadonlySet<number>>(new Set());
  readonly conflict = signal<Conflict | null>(null);
  readonly alternative = signal(-1);
  /** Held, being paid for, or just sold or ended: what the panel shows. */
  readonly booking = signal<Booking | null>(null);
  readonly owned = signal<Booking[]>([]);
  readonly notice = signal<Message | null>(null);
  readonly busy = signal<'' | 'hold' | 'pay' | 'extend' | 'cancel' | 'check'>('');
  readonly spoken = signal('');
  readonly alert = signal('');
  house!: House;
  readonly feed: Feed;
  readonly room: Room;
  readonly isSeated = computed(() => this.event.value?.sections?.some((section) => !section.general_admission) ?? true);
  private soon: ReturnType<typeof setTimeout> | undefined;
  private changeTimer: ReturnType<typeof setTimeout> | undefined;
  private loads = 0;

  constructor(readonly id: number) {
    this.feed = new Feed(id);
    this.feed.onPush = (push) => this.hear(push);
    this.feed.onReconnect = () => void this.refresh();
    this.room = new Room(id, () => this.feed.transport.value === 'socket' && this.isPushed);
    this.event.subscribe(() => this.awaitChange());
  }

  // -- Start -------------------------------------------------------------------------------------

  async start(): Promise<void> {
    // The seats are on their way while the event is asked for.
    this.feed.start();
    await this.load();
  }

  private async load(): Promise<void> {
    try {
      this.event.value = (await pub.event(this.id)).body;
      this.failure.value = null;
    } catch (error) {
      this.failure.value = messageOf(error);
      if (isFinal(error)) this.feed.stop();
      else setTimeout(() => void this.load(), retryMs(++this.loads, error));
      return;
    }
    const event = this.event.value;
    document.title = `${event.name} · Seats`;
    this.house = new House(event.sections ?? [], event.total_seats);
    this.room.onToken = (token) => this.feed.register(token);
    this.room.onAdmitted = () => (this.alert.value = 'It is your turn. Choose and hold your seats.');
    this.house.listeners.add((changes) => this.watchChoice(changes));
    this.house.isKnown.subscribe((isKnown) => isKnown && this.layOut());
    this.feed.attach(this.house);
    const look = () => !document.hidden && !this.isPushed && void this.refreshEvent();
    setInterval(look, EVENT_POLL_MS);
    document.addEventListener('visibilitychange', look);
    await this.restore();
    if (!this.isHolding) await this.room.start();
  }

  private layOut(): void {
    if (this.scene.value) return;
    const event = this.event.value!;
    const scene = new Scene(this.house, makePlan(this.house.sections, this.house.total, this.house.rowStart), event.currency);
    this.scene.value = scene;
    this.markSeats();
    const load = () =>
      loadRowNames(scene, this.id).then(
        () => this.names.value++,
        (error) => console.warn('No names of rows', error),
      );
    // Of a large house they are long, and only seen close by: after the first picture.
    setTimeout(load, this.house.total > NAMES_LATER_SEATS ? NAMES_LATER_MS : 0);
  }

  /** Whether the server tells changes of the event by itself. */
  private get isPushed(): boolean {
    return this.feed.transport.value !== 'poll' && this.feed.connection.value === 'live';
  }

  /** Waits so long, or until a lost connection is there again. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      let wasLost = false;
      const stop = this.feed.connection.subscribe((connection) => {
        if (connection === 'live' && wasLost) done();
        wasLost = connection !== 'live';
      });
      const timer = setTimeout(() => done(), ms);
      const done = () => {
        clearTimeout(timer);
        stop();
        resolve();
      };
    });
  }

  get isHolding(): boolean {
    const status = this.booking.value?.status;
    return status === 'HOLD' || status === 'CONFIRMING';
  }

  /** What this device knew before a reload: an unanswered request, a hold, bookings. */
  private async restore(): Promise<void> {
    await resumeHold(this);
    const kept = device.get(this.keptKey);
    for (let tries = 0; !this.booking.value && kept && !(await this.refreshBooking(kept)); tries++) {
      this.notice.value = { tone: 'warn', text: 'Checking whether your seats are held.' };
      await this.pause(retryMs(tries));
    }
    if (kept) this.notice.value = null;
    if (!(await this.listOwned())) void this.listLater();
  }

  /** The archive has no answer right now: sold seats are shown once it has. */
  private async listLater(): Promise<void> {
    let tries = 0;
    do await sleep(retryMs(tries++));
    while (!(await this.listOwned()));
  }

  private get keptKey(): string {
    return `booking.${this.id}.${user.value}`;
  }

  /** Reads the buyer's bookings; returns whether the server has answered. */
  private async listOwned(): Promise<boolean> {
    try {
      const { body } = await buyer.bookings();
      const own = body.bookings.filter((booking) => booking.event_id === this.id && booking.status === 'CONFIRMED');
      const current = this.booking.value;
      this.owned.value = current?.status === 'CONFIRMED' && !own.some((one) => one.id === current.id) ? [current, ...own] : own;
      const held = body.bookings.find((booking) => booking.event_id === this.id && booking.status === 'HOLD');
      if (!current && held) await this.refreshBooking(held.id);
      this.markSeats();
      return true;
    } catch (error) {
      console.warn('No list of bookings', error);
      return isFinal(error);
    }
  }

  async refresh(): Promise<void> {
    await Promise.all([this.refreshEvent(), this.booking.value && this.isHolding ? this.refreshBooking(this.booking.value.id) : undefined]);
  }

  async refreshEvent(): Promise<void> {
    try {
      this.takeEvent((await pub.event(this.id)).body);
    } catch (error) {
      console.warn('The event is not known right now', error);
    }
  }

  /** Reads the event within seconds, once for all that ask for it until then. */
  refreshEventSoon(): void {
    this.soon ??= setTimeout(() => {
      this.soon = undefined;
      void this.refreshEvent();
    }, Math.random() * SPREAD_MS);
  }

  private takeEvent(event: EventBody): void {
    const before = this.event.value;
    if (JSON.stringify(before) !== JSON.stringify(event)) this.event.value = event;
    if (before && before.status !== event.status) this.spoken.value = event.status === 'PAUSED' ? 'The sale is paused.' : event.status === 'CLOSED' ? 'The sale has ended.' : '';
  }

  /** The sale begins and ends by the clock, which nobody pushes: then the event is read. */
  private awaitChange(): void {
    clearTimeout(this.changeTimer);
    const event = this.event.value;
    const at = event?.status === 'SCHEDULED' ? event.on_sale_at : event?.status === 'CLOSED' ? null : event?.off_sale_at;
    if (!at) return;
    const left = Date.parse(at) - serverNow();
    // Once it is over, the server's answer was of before it: again, but not at once.
    const wait = (left > 0 ? left : SPREAD_MS) + Math.random() * SPREAD_MS;
    this.changeTimer = setTimeout(() => (wait > TIMER_MS_MAX ? this.awaitChange() : void this.refreshEvent().then(() => this.awaitChange())), Math.min(wait, TIMER_MS_MAX));
  }

  /** Asks for a booking; what the server says counts. Returns whether it has answered. */
  async refreshBooking(id: string): Promise<boolean> {
    try {
      this.adopt((await buyer.booking(id)).body);
      return true;
    } catch (error) {
      if (error instanceof Problem && error.status === 404) {
        device.set(this.keptKey, null);
        if (this.booking.value?.id === id) this.adopt(null);
      } else console.warn('The booking is not known right now', error);
      return isFinal(error);
    }
  }

  private hear(push: Push): void {
    if (this.room.hear(push)) return;
    if (push.type === 'booking_expired' && push.booking_id === this.booking.value?.id) void this.refreshBooking(push.booking_id!);
    else if (push.type === 'sold_out' || push.type === 'sale_closed') {
      this.room.clear();
      this.refreshEventSoon();
    } else if (push.type === 'gap') this.refreshEventSoon();
    else if (push.type === 'event_status' && this.event.value) {
      const { status, on_sale_at = null, off_sale_at = null } = push;
      this.takeEvent({ ...this.event.value, status: status as EventStatus, on_sale_at, off_sale_at });
    }
  }

  // -- Choice ------------------------------------------------------------------------------------

  get seatsMax(): number {
    const owned = this.owned.value.reduce((total, booking) => total + booking.seats.length, 0);
    return Math.max(0, Math.min(10, (this.event.value?.max_seats_per_user ?? 10) - owned));
  }

  toggle(seat: number): void {
    if (this.isHolding || this.booking.value) return;
    const chosen = this.chosen.value;
    if (chosen.includes(seat)) this.setChosen(chosen.filter((one) => one !== seat));
    else if (this.house.state[seat] !== FREE) return;
    else if (chosen.length >= this.seatsMax) this.notice.value = { tone: 'warn', text: `At most ${this.seatsMax} seats in one booking.` };
    else this.setChosen([...chosen, seat]);
  }

  setChosen(seats: number[]): void {
    this.notice.value = null;
    this.general.value = null;
    this.chosen.value = seats;
    // The button holds what is marked on the map.
    if (seats.length) this.mode.value = 'map';
    const taken = new Set([...this.taken.value].filter((seat) => seats.includes(seat)));
    this.taken.value = taken;
    if (!taken.size) this.dropConflict();
    this.markSeats();
  }

  chooseGeneral(section: number, quantity: number): void {
    this.setChosen([]);
    this.general.value = quantity > 0 ? { section, quantity } : null;
    if (quantity > 0) this.mode.value = 'map';
  }

  dropConflict(): void {
    this.conflict.value = null;
    this.alternative.value = -1;
    this.markSeats();
  }

  /** Someone else takes a chosen seat while it is looked at. */
  private watchChoice(changes: Change[]): void {
    if (this.busy.value === 'hold' || this.isHolding) return;
    const chosen = this.chosen.value;
    if (!chosen.length) return;
    const taken = new Set(this.taken.value);
    for (const { seat, to } of changes) {
      if (!chosen.includes(seat)) continue;
      if (to === FREE) taken.delete(seat);
      else taken.add(seat);
    }
    if (taken.size === this.taken.value.size) return;
    this.taken.value = taken;
    this.markSeats();
  }

  /** Tells the map whose seats are whose. */
  markSeats(): void {
    const scene = this.scene.value;
    if (!scene) return;
    const before = [...scene.chosen, ...scene.yours, ...scene.taken];
    const held = this.booking.value && this.booking.value.status !== 'EXPIRED' && this.booking.value.status !== 'CANCELLED' && this.booking.value.status !== 'VOIDED' ? this.booking.value.seats : [];
    scene.yours = new Set([...held, ...this.owned.value.flatMap((booking) => booking.seats)].map((seat) => seat.seat_id));
    scene.taken = this.taken.value;
    scene.chosen = new Set(this.chosen.value.filter((seat) => !this.taken.value.has(seat)));
    scene.alternatives = this.conflict.value?.alternatives ?? [];
    scene.alternative = this.alternative.value;
    this.onMarks?.([...before, ...scene.chosen, ...scene.yours, ...scene.taken]);
  }
  onMarks: ((seats: number[]) => void) | undefined;

  // -- Hold --------------------------------------------------------------------------------------

  /** What the button would hold now. */
  readonly request = computed<HoldRequest | null>(() => {
    const event_id = this.id;
    const general = this.general.value;
    if (general) return { event_id, section: this.event.value?.sections?.[general.section]?.name ?? '', quantity: general.quantity };
    if (this.mode.value === 'best') {
      const { quantity, together, maxPrice } = this.best.value;
      return { event_id, quantity, together, ...(maxPrice === null ? {} : { max_price: maxPrice }) };
    }
    const seats = this.chosen.value.filter((seat) => !this.taken.value.has(seat));
    return seats.length ? { event_id, seat_ids: seats } : null;
  });

  /** Takes what the server says about the buyer's booking. */
  adopt(booking: Booking | null): void {
    const before = this.booking.value;
    this.booking.value = booking;
    const isOpen = booking?.status === 'HOLD' || booking?.status === 'CONFIRMING';
    device.set(this.keptKey, isOpen ? booking.id : null);
    if (booking) {
      this.chosen.value = [];
      this.general.value = null;
      this.taken.value = new Set();
      this.conflict.value = null;
      this.alternative.value = -1;
      if (booking.status === 'CONFIRMED') {
        this.owned.value = [booking, ...this.owned.value.filter((one) => one.id !== booking.id)];
        this.room.clear();
        if (before?.id === booking.id && before.status !== 'CONFIRMED') this.alert.value = 'These seats are yours.';
      } else this.owned.value = this.owned.value.filter((one) => one.id !== booking.id);
    }
    this.markSeats();
  }

  /** Back to the choice, after a receipt or an ended hold. */
  chooseAgain(): void {
    this.notice.value = null;
    this.alert.value = '';
    this.adopt(null);
    void this.refreshEvent();
    if (!this.room.place.value) void this.room.start();
  }
}
