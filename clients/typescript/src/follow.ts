// A socket that follows an event: resumes where it broke off, and keeps the seats up to date.
import { HoldfastError, ProblemError } from "./errors.js";
import { SeatStates } from "./seats.js";
import type { MessageOf, MessageType, ServerMessage } from "./types.js";
import type { WebSocketClass, WebSocketLike } from "./transport.js";

export type ConnectionState = "connecting" | "open" | "waiting" | "closed";

export interface FollowOptions {
  /** The token of the waiting room: its messages come too. */
  waitingRoomToken?: string | undefined;
  /** Every message, after `seats` has it. */
  onMessage?: (message: ServerMessage) => void;
  /** The seats after a change. `changed` are the seats of this message; `undefined`: all. */
  onSeats?: (seats: SeatStates, changed: readonly number[] | undefined) => void;
  onState?: (state: ConnectionState) => void;
  /** Why there will be no socket: the follower closes itself. */
  onError?: (error: ProblemError) => void;
  signal?: AbortSignal | undefined;
}

/** How sockets are opened. */
export interface SocketSource {
  webSocket: WebSocketClass;
  /** The address for a new socket; `since` is where the last one ended. */
  url(since: string | undefined): Promise<string>;
  /** Asks the server why a socket did not open, which the socket does not tell: throws its refusal. */
  check?(): Promise<unknown>;
}

/** Up to this long before the first attempt to reconnect, then twice as long, and so on: all sockets of a
 * server break in the same moment, and must not come back in one. */
const FIRST_PAUSE_MS_MAX = 5_000;
const LONGEST_PAUSE_MS = 30_000;
/** At least this share of it. */
const PAUSE_SHARE_MIN = 0.2;
const PING_MS = 25_000;
const SILENCE_MS_MAX = 60_000;
const OPEN = 1;

type Listener<T extends MessageType> = (message: MessageOf<T>) => void;

/** A subscription. It reconnects until `close()`. */
export class Follower {
  #socket: WebSocketLike | undefined;
  #resume: string | undefined;
  #seats: SeatStates | undefined;
  #state: ConnectionState = "connecting";
  #failures = 0;
  #heardAt = 0;
  #reconnect: ReturnType<typeof setTimeout> | undefined;
  #ping: ReturnType<typeof setInterval> | undefined;
  #token: string | undefined;
  readonly #abort = (): void => this.close();
  readonly #listeners = new Map<MessageType, Set<(message: never) => void>>();

  constructor(readonly event: number, private readonly source: SocketSource, private readonly options: FollowOptions = {}) {
    this.#token = options.waitingRoomToken;
    options.signal?.addEventListener("abort", this.#abort, { once: true });
    if (options.signal?.aborted) this.close();
    else void this.#connect();
  }

  /** The seats as of the last message; `undefined` before the first snapshot and after a gap. */
  get seats(): SeatStates | undefined {
    return this.#seats;
  }

  get state(): ConnectionState {
    return this.#state;
  }

  /** Calls `listener` for each message of a type; returns a function that ends that. */
  on<T extends MessageType>(type: T, listener: Listener<T>): () => void {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners);
    const entry = listener as (message: never) => void;
    listeners.add(entry);
    return () => listeners.delete(entry);
  }

  /** Resolves with the next message of a type that `accepts`; rejects when the follower is closed. */
  next<T extends MessageType>(type: T, accepts: (message: MessageOf<T>) => boolean = () => true): Promise<MessageOf<T>> {
    return new Promise((resolve, reject) => {
      const off = this.on(type, (message) => {
        if (!accepts(message)) return;
        off();
        this.#closing.delete(refuse);
        resolve(message);
      });
      const refuse = (): void => {
        off();
        reject(new HoldfastError(`The subscription of event ${this.event} was closed`));
      };
      if (this.#state === "closed") refuse();
      else this.#closing.add(refuse);
    });
  }
  readonly #closing = new Set<() => void>();

  /** Asks for one's place in the waiting room, now and after each reconnect. */
  registerWaitingRoom(token: string): void {
    this.#token = token;
    this.#send({ type: "register_waiting_room", token });
  }

  close(): void {
    if (this.#state === "closed") return;
    this.#enter("closed");
    this.options.signal?.removeEventListener("abort", this.#abort);
    clearTimeout(this.#reconnect);
    this.#drop(this.#socket);
    for (const refuse of [...this.#closing]) refuse();
    this.#closing.clear();
  }

  async #connect(): Promise<void> {
    this.#enter("connecting");
    let socket: WebSocketLike;
    try {
      const url = await this.source.url(this.#resume);
      if (this.#isClosed()) return;
      socket = new this.source.webSocket(url);
    } catch (error) {
      this.#refused(error);
      return;
    }
    this.#socket = socket;
    this.#heardAt = Date.now();
    let hasOpened = false;
    socket.addEventListener("open", () => {
      if (this.#socket !== socket) return;
      hasOpened = true;
      this.#enter("open");
      if (this.#token !== undefined) this.#send({ type: "register_waiting_room", token: this.#token });
    });
    socket.addEventListener("message", ({ data }) => {
      if (this.#socket === socket) this.#receive(String(data));
    });
    // An error is followed by a close; without a listener, Node's sockets would throw it.
    socket.addEventListener("error", () => undefined);
    socket.addEventListener("close", () => {
      if (this.#socket !== socket) return;
      if (hasOpened || !this.source.check) this.#lost();
      else void this.#explain(socket, this.source.check());
    });
    this.#ping = setInterval(() => this.#keepAlive(), PING_MS);
  }

  /** Why a socket did not open. Its answer can be late: another socket may be open by then. */
  async #explain(socket: WebSocketLike, asked: Promise<unknown>): Promise<void> {
    const error: unknown = await asked.then(() => undefined, (refusal: unknown) => refusal);
    if (this.#socket === socket) this.#refused(error);
  }

  /** A connection can be dead without a close: a proxy that went away says nothing. */
  #keepAlive(): void {
    if (Date.now() - this.#heardAt > SILENCE_MS_MAX) this.#lost();
    else this.#send({ type: "ping" });
  }

  #lost(): void {
    this.#drop(this.#socket);
    if (this.#isClosed()) return;
    this.#failures += 1;
    this.#enter("waiting");
    const pauseMsMax = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS_MAX * 2 ** (this.#failures - 1));
    const pauseMs = pauseMsMax * (PAUSE_SHARE_MIN + (1 - PAUSE_SHARE_MIN) * Math.random());
    clearTimeout(this.#reconnect);
    this.#reconnect = setTimeout(() => void this.#connect(), pauseMs);
  }

  /** A refusal, such as of an unknown event, stays one; after anything else the next socket may open. */
  #refused(error: unknown): void {
    if (this.#isClosed()) return;
    if (!(error instanceof ProblemError) || error.status >= 500 || error.status === 429) return this.#lost();
    this.options.onError?.(error);
    this.close();
  }

  #drop(socket: WebSocketLike | undefined): void {
    this.#socket = undefined;
    clearInterval(this.#ping);
    socket?.close();
  }

  #receive(text: string): void {
    this.#heardAt = Date.now();
    const message = JSON.parse(text) as ServerMessage;
    this.#failures = 0;
    const isWhole = this.#take(message);
    this.options.onMessage?.(message);
    for (const listener of [...(this.#listeners.get(message.type) ?? [])]) listener(message as never);
    if (!isWhole) this.#startOver();
  }

  /** Updates seats and the place to resume from. `false`: changes are missing. */
  #take(message: ServerMessage): boolean {
    switch (message.type) {
      case "snapshot":
        this.#seats = SeatStates.fromSnapshot(message);
        this.#resume = message.resume;
        this.options.onSeats?.(this.#seats, undefined);
        return true;
      case "seat_update":
        if (!this.#seats?.apply(message)) return false;
        this.#resume = message.resume ?? this.#resume;
        this.options.onSeats?.(this.#seats, message.seat_ids);
        return true;
      case "gap":
        this.#seats = undefined;
        this.#resume = undefined;
        return true;
      default:
        return true;
    }
  }

  /** The next socket begins with a snapshot. */
  #startOver(): void {
    this.#seats = undefined;
    this.#resume = undefined;
    this.#lost();
  }

  #send(message: { type: string; token?: string }): void {
    if (this.#socket?.readyState === OPEN) this.#socket.send(JSON.stringify(message));
  }

  #isClosed(): boolean {
    return this.#state === "closed";
  }

  #enter(state: ConnectionState): void {
    if (this.#state === state || this.#isClosed()) return;
    this.#state = state;
    this.options.onState?.(state);
  }
}
