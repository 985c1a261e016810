import { computed, signal } from '@preact/signals';
import { buyer, pub, type Sent } from '../api/client';
import { Offline, Problem } from '../api/http';
import { newKey, user } from '../api/identity';
import type { Booking, EventBody, HoldRequest } from '../api/types';
import { device, tab } from '../base/storage';
import { messageOf, type Message } from '../base/words';
import { Feed, type Push } from '../live/feed';
import { FREE, House, type Change } from '../live/house';
import { loadRowNames } from '../map/names';
import { makePlan } from '../map/plan';
import { Scene } from '../map/scene';
import { Room } from './room';

export interface Conflict {
  taken: number[];
  alternatives: number[][];
  /** So many seats were wanted. */
  wanted: number;
  /** A number of seats was asked for, not these seats. */
  isBest: boolean;
}
interface Pending {
  key: string;
  body: HoldRequest;
}

const EVENT_POLL_MS = 10_000;
const UNKNOWN_TRIES_MAX = 8;
const NAMES_LATER_SEATS = 3000;
const NAMES_LATER_MS = 1500;

const RETRY_MS_MAX = 8000;

const pause = (tries: number) => new Promise((resolve) => setTimeout(resolve, Math.min(RETRY_MS_MAX, 500 * 2 ** tries) * (0.75 + Math.random() / 2)));
/** Whether the same request would be answered in the same way again. */
const isFinal = (error: unknown) => error instanceof Problem && error.status < 500 && error.status !== 429;

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
  private hearsEvent = false;

  constructor(readonly id: number) {
    this.feed = new Feed(id);
    this.feed.onPush = (push) => this.hear(push);
    this.feed.onReconnect = () => void this.refresh();
    this.room = new Room(id, () => this.feed.transport.value === 'socket' && this.feed.connection.value === 'live');
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
      if (!(error instanceof Problem) || error.status >= 429) setTimeout(() => void this.load(), 3000);
      else this.feed.stop();
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
    setInterval(() => !document.hidden && !this.hearsEvent && void this.refreshEvent(), EVENT_POLL_MS);
    document.addEventListener('visibilitychange', () => !document.hidden && void this.refreshEvent());
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

  get isHolding(): boolean {
    const status = this.booking.value?.status;
    return status === 'HOLD' || status === 'CONFIRMING';
  }

  /** What this device knew before a reload: an unanswered request, a hold, bookings. */
  private async restore(): Promise<void> {
    const pending = tab.getJson<Pending>(`pending.${this.id}`);
    if (pending) await this.sendHold(pending.body, { key: pending.key, admission: this.room.token });
    const kept = device.get(this.keptKey);
    for (let tries = 0; !this.booking.value && kept && !(await this.refreshBooking(kept)); tries++) {
      this.notice.value = { tone: 'warn', text: 'Checking whether your seats are held.' };
      await pause(tries);
    }
    if (kept) this.notice.value = null;
    if (!(await this.listOwned())) void this.listLater();
  }

  /** The archive has no answer right now: sold seats are shown once it has. */
  private async listLater(): Promise<void> {
    let tries = 0;
    do await pause(tries++);
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
      const { body } = await pub.event(this.id);
      const before = this.event.value;
      if (JSON.stringify(before) !== JSON.stringify(body)) this.event.value = body;
      if (before && before.status !== body.status) this.spoken.value = body.status === 'PAUSED' ? 'The sale is paused.' : body.status === 'CLOSED' ? 'The sale has ended.' : '';
    } catch (error) {
      console.warn('The event is not known right now', error);
    }
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
      void this.refreshEvent();
    } else if (push.type === 'event_status') {
      this.hearsEvent = true;
      void this.refreshEvent();
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
    const taken = new Set([...this.taken.value].filter((seat) => seats.includes(seat)));
    this.taken.value = taken;
    if (!taken.size) this.dropConflict();
    this.markSeats();
  }

  chooseGeneral(section: number, quantity: number): void {
    this.setChosen([]);
    this.general.value = quantity > 0 ? { section, quantity } : null;
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

  async hold(body = this.request.value): Promise<void> {
    if (!body || this.busy.value) return;
    await this.sendHold(body, { key: newKey(), admission: this.room.token });
  }

  /** Sends a hold until it is known what came of it: the key makes the repetition safe. */
  private async sendHold(body: HoldRequest, sent: Sent): Promise<void> {
    this.busy.value = 'hold';
    this.notice.value = null;
    tab.setJson(`pending.${this.id}`, { key: sent.key, body } satisfies Pending);
    try {
      for (let attempt = 1; ; attempt++) {
        try {
          this.adopt((await buyer.hold(body, sent)).body);
          return;
        } catch (error) {
          const isUnknown = error instanceof Offline || (error instanceof Problem && (error.code === 'outcome_unknown' || error.code === 'in_flight'));
          if (!isUnknown || attempt >= UNKNOWN_TRIES_MAX) throw error;
          this.notice.value = { tone: 'warn', text: 'Checking whether your seats are held.' };
          const wait = error instanceof Problem ? (error.retryAfterSeconds ?? 1) : Math.min(4, attempt * 0.5);
          await new Promise((resolve) => setTimeout(resolve, wait * 1000));
        }
      }
    } catch (error) {
      this.refused(error, body);
    } finally {
      tab.set(`pending.${this.id}`, null);
      this.busy.value = '';
    }
  }

  private refused(error: unknown, body: HoldRequest): void {
    if (!(error instanceof Problem)) {
      this.notice.value = messageOf(error, 'Nothing was charged.');
      return;
    }
    const { code } = error;
    if (code === 'seats_unavailable') return this.conflicted(error, body);
    if (code === 'waiting_room_required') return void this.room.join();
    if (code === 'waiting_room_token_invalid') {
      void this.room.poll();
      this.notice.value = messageOf(error);
    } else if (code === 'user_limit') {
      this.notice.value = { ...messageOf(error), text: `At most ${this.event.value?.max_seats_per_user ?? 10} seats for one buyer.` };
    } else this.notice.value = messageOf(error, 'Nothing was charged.');
    if (code.startsWith('event_') || code === 'not_on_sale' || code === 'sold_out') void this.refreshEvent();
  }

  private conflicted(error: Problem, body: HoldRequest): void {
    const wanted = body.seat_ids?.length ?? body.quantity ?? 1;
    const taken = (error.body.seats ?? []).filter((seat) => seat.status !== 'AVAILABLE').map((seat) => seat.id);
    const alternatives = (error.body.alternatives ?? []).slice(0, 2);
    for (const seat of error.body.seats ?? []) this.house.set([seat.id], seat.status);
    this.taken.value = new Set([...this.taken.value, ...taken.filter((seat) => this.chosen.value.includes(seat))]);
    this.conflict.value = { taken, alternatives, wanted, isBest: !body.seat_ids };
    this.alternative.value = alternatives.length ? 0 : -1;
    this.markSeats();
  }

  /** Holds the seats that were offered instead. */
  async take(alternative: number): Promise<void> {
    const seats = this.conflict.value?.alternatives[alternative];
    if (!seats || this.busy.value) return;
    this.setChosen(seats);
    this.taken.value = new Set();
    this.dropConflict();
    await this.hold();
  }

  /** Takes what the server says about the buyer's booking. */
  adopt(booking: Booking | null): void {
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
      } else this.owned.value = this.owned.value.filter((one) => one.id !== booking.id);
    }
    this.markSeats();
  }

  /** Back to the choice, after a receipt or an ended hold. */
  chooseAgain(): void {
    this.notice.value = null;
    this.adopt(null);
    void this.refreshEvent();
    if (!this.room.place.value) void this.room.start();
  }
}
