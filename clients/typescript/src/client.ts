// The API's operations.
import { HoldfastError } from "./errors.js";
import { Follower, type FollowOptions } from "./follow.js";
import { pause } from "./timing.js";
import { Transport, retryAfterMs, type CallOptions, type HoldfastOptions, type Request, type WebSocketClass } from "./transport.js";
import { waitForAdmission, type Admission, type WaitOptions } from "./waiting.js";
import type {
  Availability, Blocked, Booking, BookingList, BookingQuery, EventChange, EventList, EventQuery, HoldfastEvent,
  HoldRequest, NewBlock, NewEvent, Payment, Place, QueueStatus, RoomChanged, RoomFigures, RoomSettings, SeatMap, SeatQuery,
  SocketTicket,
} from "./types.js";

/** Options of an operation that ends once the archive has recorded it. */
export interface SettleOptions extends CallOptions {
  /** How long to ask again after 202; 30 s if absent, 0: not at all. */
  settleMs?: number;
}

export interface HoldOptions extends CallOptions {
  /** How many groups of free seats a refusal lists, 0 to 20. */
  alternatives?: number;
}

const SETTLE_MS = 30_000;
const SETTLE_PAUSE_MS = 1_000;
const enc = encodeURIComponent;

/** A client of one Holdfast, for one user. */
export class Holdfast {
  readonly #options: HoldfastOptions;
  readonly #transport: Transport;

  constructor(options: HoldfastOptions = {}) {
    this.#options = options;
    this.#transport = new Transport(options);
  }

  /** The same client for another user: a shop's backend has one for each buyer. */
  as(user: string): Holdfast {
    return new Holdfast({ ...this.#options, user });
  }

  // -- Events

  listEvents(query: EventQuery = {}, options: CallOptions = {}): Promise<EventList> {
    return this.#get("/api/v1/events", query, options);
  }

  /** All events, page by page. */
  async *events(query: Omit<EventQuery, "page"> = {}, options: CallOptions = {}): AsyncGenerator<HoldfastEvent> {
    let cursor = query.cursor;
    do {
      const page = await this.listEvents({ ...query, ...(cursor && { cursor }) }, options);
      yield* page.events;
      cursor = page.next_cursor ?? undefined;
    } while (cursor);
  }

  getEvent(event: number, options: CallOptions = {}): Promise<HoldfastEvent> {
    return this.#get(`/api/v1/events/${event}`, {}, options);
  }

  seatMap(event: number, query: SeatQuery = {}, options: CallOptions = {}): Promise<SeatMap> {
    return this.#get(`/api/v1/events/${event}/seats`, query, options);
  }

  availability(event: number, options: CallOptions = {}): Promise<Availability> {
    return this.#get(`/api/v1/events/${event}/availability`, {}, options);
  }

  /** Follows an event: seats, one's expired holds, one's place in the waiting room. */
  follow(event: number, options: FollowOptions = {}): Follower {
    const webSocket = this.#options.webSocket ?? (globalThis as { WebSocket?: WebSocketClass }).WebSocket;
    if (!webSocket) throw new HoldfastError("There is no WebSocket here: pass that of the package ws as `webSocket`");
    const { user, token } = this.#options;
    const url = async (since: string | undefined): Promise<string> => {
      // A socket cannot send a token: it shows a ticket, a new one each time.
      const who = token === undefined ? { user_id: user } : { ticket: (await this.socketTicket(event)).ticket };
      return this.#transport.url(`/ws/events/${event}`, { since, ...who }).replace(/^http/, "ws");
    };
    return new Follower(event, { webSocket, url, check: () => this.getEvent(event) }, options);
  }

  /** A ticket with which one socket or event stream of an event can be opened, within 30 seconds. */
  socketTicket(event: number, options: CallOptions = {}): Promise<SocketTicket> {
    return this.#change("POST", `/api/v1/events/${event}/socket-ticket`, undefined, options, {}, false);
  }

  // -- Bookings

  /** Holds seats: those of `seat_ids`, or the best `quantity`. All or none. */
  hold(request: HoldRequest, options: HoldOptions = {}): Promise<Booking> {
    const { alternatives } = options;
    return this.#change("POST", "/api/v1/bookings", request, options, { alternatives }, true);
  }

  listBookings(query: BookingQuery = {}, options: CallOptions = {}): Promise<BookingList> {
    return this.#get("/api/v1/bookings", query, options);
  }

  getBooking(booking: string, options: CallOptions = {}): Promise<Booking> {
    return this.#get(`/api/v1/bookings/${enc(booking)}`, {}, options);
  }

  /**
   * Pays. Waits until the archive has the sale (CONFIRMED, with a receipt); still CONFIRMING after
   * `settleMs`: paid or not, do not pay again but look at the booking later.
   */
  confirm(booking: string, payment: Payment = {}, options: SettleOptions = {}): Promise<Booking> {
    return this.#settled(`/api/v1/bookings/${enc(booking)}/confirm`, payment, options);
  }

  /** Restarts a hold's time, up to the event's longest hold. */
  extend(booking: string, options: CallOptions = {}): Promise<Booking> {
    return this.#change("POST", `/api/v1/bookings/${enc(booking)}/extend`, undefined, options, {}, true);
  }

  /** Releases a hold, or cancels a sale and waits until the archive has that. */
  cancel(booking: string, options: SettleOptions = {}): Promise<Booking> {
    return this.#settled(`/api/v1/bookings/${enc(booking)}/cancel`, undefined, options);
  }

  // -- Waiting room

  joinWaitingRoom(event: number, options: CallOptions = {}): Promise<Place> {
    return this.#change("POST", `${room(event)}/join`, undefined, options, {}, false);
  }

  queueStatus(event: number, token: string, options: CallOptions = {}): Promise<QueueStatus> {
    return this.#get(`${room(event)}/status`, {}, { ...options, waitingRoomToken: token });
  }

  async leaveWaitingRoom(event: number, token: string, options: CallOptions = {}): Promise<void> {
    await this.#change("POST", `${room(event)}/leave`, undefined, { ...options, waitingRoomToken: token }, {}, false);
  }

  /** Joins, if need be, and polls until it is this user's turn. */
  waitForAdmission(event: number, options: WaitOptions = {}): Promise<Admission> {
    return waitForAdmission(this, event, options);
  }

  roomFigures(event: number, options: CallOptions = {}): Promise<RoomFigures> {
    return this.#get(`${room(event)}/stats`, {}, options);
  }

  // -- For admins

  /** Creates an event. Not sent again if it is unknown whether it happened: look at the list first. */
  async createEvent(event: NewEvent, options: Pick<CallOptions, "signal" | "onAnswer"> = {}): Promise<HoldfastEvent> {
    const request = { method: "POST", path: "/api/v1/events", body: event, isRepeatable: false } as const;
    const { signal, onAnswer } = options;
    return (await this.#transport.send<HoldfastEvent>({ ...request, signal, onAnswer })).body;
  }

  changeEvent(event: number, change: EventChange, options: CallOptions = {}): Promise<HoldfastEvent> {
    return this.#change("PATCH", `/api/v1/events/${event}`, change, options, {}, false);
  }

  blockSeats(event: number, block: NewBlock, options: CallOptions = {}): Promise<Blocked> {
    return this.#change("POST", `/api/v1/events/${event}/blocks`, block, options, {}, false);
  }

  releaseSeats(event: number, block: NewBlock, options: CallOptions = {}): Promise<Blocked> {
    return this.#change("POST", `/api/v1/events/${event}/blocks/release`, block, options, {}, false);
  }

  enableWaitingRoom(event: number, settings: RoomSettings = {}, options: CallOptions = {}): Promise<RoomChanged> {
    return this.#change("POST", `${room(event)}/enable`, settings, options, {}, false);
  }

  disableWaitingRoom(event: number, options: CallOptions = {}): Promise<RoomChanged> {
    return this.#change("POST", `${room(event)}/disable`, undefined, options, {}, false);
  }

  // -- Requests

  async #get<T>(path: string, query: Request["query"], options: CallOptions): Promise<T> {
    const headers = { "x-waiting-room-token": options.waitingRoomToken };
    const { signal, onAnswer } = options;
    const request: Request = { method: "GET", path, query, headers, isRepeatable: true, signal, onAnswer };
    return (await this.#transport.send<T>(request)).body;
  }

  async #change<T>(
    method: "POST" | "PATCH", path: string, body: unknown, options: CallOptions, query: Request["query"], isKeyed: boolean,
  ): Promise<T> {
    return (await this.#transport.send<T>(changeRequest(method, path, body, options, query, isKeyed))).body;
  }

  /** Sends a request again under the same key while the answer is 202. */
  async #settled(path: string, body: unknown, options: SettleOptions): Promise<Booking> {
    const deadline = Date.now() + (options.settleMs ?? SETTLE_MS);
    const request = changeRequest("POST", path, body, options, {}, true);
    for (;;) {
      const answer = await this.#transport.send<Booking>(request);
      const pauseMs = retryAfterMs(answer.headers) ?? SETTLE_PAUSE_MS;
      if (answer.status !== 202 || Date.now() + pauseMs > deadline) return answer.body;
      await pause(pauseMs, options.signal);
    }
  }
}

function changeRequest(
  method: "POST" | "PATCH", path: string, body: unknown, options: CallOptions, query: Request["query"], isKeyed: boolean,
): Request {
  const headers = {
    "idempotency-key": isKeyed ? (options.idempotencyKey ?? randomKey()) : options.idempotencyKey,
    "x-waiting-room-token": options.waitingRoomToken,
  };
  const { signal, onAnswer } = options;
  return { method, path, body, query, headers, isRepeatable: true, signal, onAnswer };
}

const room = (event: number): string => `/api/v1/events/${event}/waiting-room`;

/** A random UUID: `crypto.randomUUID` exists only on pages that came over TLS. */
function randomKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
