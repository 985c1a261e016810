import { signal } from '@preact/signals';
import { buyer, pub } from '../api/client';
import { Problem, send } from '../api/http';
import { token as bearer, user } from '../api/identity';
import type { House } from './house';

/** What the server pushes. Fields by `type`; see "Live updates" of the API's documentation. */
export interface Push {
  type: string;
  event_id: number;
  resume?: string;
  bytes?: string;
  status?: string;
  seat_ids?: number[];
  since?: number;
  version?: number | null;
  generation?: number | null;
  booking_id?: string;
  position?: number;
  estimated_wait_seconds?: number;
  refresh_after_seconds?: number;
  joined?: number;
  token?: string;
  session_expires_at?: string;
  on_sale_at?: string | null;
  off_sale_at?: string | null;
  error?: string;
  detail?: string;
}

export type Transport = 'socket' | 'stream' | 'poll';
/** `connecting`: for the first time; `lost`: what is shown may be out of date. */
export type Connection = 'connecting' | 'live' | 'lost';

/** All pages lose their connections at once when a server stops: they come back spread over seconds. */
const BACKOFF_MS = [4000, 8000, 16_000, 30_000];
/** Pages are opened one by one, and show nothing yet. */
const FIRST_BACKOFF_MS = [500, 1000, 2000, 4000, 8000, 16_000, 30_000];
const EARLY_MAX = 1000;
const FAILURES_BEFORE_FALLBACK = 2;
const POLL_MS = 5000;
/** From polling back to the socket. */
const RETRY_PUSH_MS = 60_000;
const PING_MS = 20_000;
const SILENCE_MS = 30_000;
const STREAM_TYPES = ['connected', 'snapshot', 'seat_update', 'gap', 'booking_expired', 'registration_confirmed', 'position', 'gathering', 'admitted', 'waiting_room_off', 'sold_out', 'sale_closed', 'event_status', 'error'];

/**
 * Keeps a `House` current: over a WebSocket, else server-sent events, else by polling. Resumes
 * where it was after a lost connection; a `gap` makes it forget its place and wait for a snapshot,
 * and is passed on: the event has to be read again.
 */
export class Feed {
  readonly connection = signal<Connection>('connecting');
  readonly transport = signal<Transport>('socket');
  /** Hears of all messages that are not about seats. */
  onPush: ((message: Push) => void) | undefined;
  /** Called when a connection is there again. */
  onReconnect: (() => void) | undefined;
  private resume: string | undefined;
  private version = 0;
  private failures = 0;
  private namesUser = bearer === null;
  private ticket: string | undefined;
  /** Counts connections that were begun: a ticket that comes after the next one is not used. */
  private attempts = 0;
  private admission: string | undefined;
  private socket: WebSocket | undefined;
  private stream: EventSource | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private heartbeat: ReturnType<typeof setInterval> | undefined;
  private heardAt = 0;
  private etag: string | undefined;
  private pushLostAt = 0;
  private stopped = false;
  private house: House | undefined;
  /** What came before the seats' sections were known. */
  private early: Push[] = [];

  constructor(private readonly event: number) {}

  /** The house to keep current; until then messages wait. */
  attach(house: House): void {
    this.house = house;
    const early = this.early.splice(0);
    if (early.length < EARLY_MAX) for (const message of early) this.hear(message);
    else this.connect();
  }

  start(): void {
    window.addEventListener('online', this.retryNow);
    document.addEventListener('visibilitychange', this.retryNow);
    this.connect();
  }

  stop(): void {
    this.stopped = true;
    window.removeEventListener('online', this.retryNow);
    document.removeEventListener('visibilitychange', this.retryNow);
    this.drop();
  }

  /** Follows a place in the waiting room: by the socket, where there is one. */
  register(admission: string | undefined): void {
    if (this.admission === admission) return;
    this.admission = admission;
    if (this.socket?.readyState === WebSocket.OPEN) this.sendAdmission();
    else if (this.transport.value === 'stream') this.connect();
  }

  private sendAdmission(): void {
    if (this.admission) this.socket?.send(JSON.stringify({ type: 'register_waiting_room', token: this.admission }));
  }

  private readonly retryNow = (): void => {
    if (document.hidden || this.connection.value !== 'lost' || this.stopped) return;
    this.connect();
  };

  private drop(): void {
    clearTimeout(this.timer);
    clearInterval(this.heartbeat);
    this.attempts++;
    const { socket, stream } = this;
    this.socket = this.stream = undefined;
    socket?.close();
    stream?.close();
  }

  private connect(): void {
    if (this.stopped) return;
    this.drop();
    if (this.transport.value === 'poll') void this.poll();
    else if (bearer) void this.connectWithTicket();
    else this.connectPush();
  }

  /** Sockets and streams cannot send the buyer's token: a ticket, good for one of them, says whose they are. */
  private async connectWithTicket(): Promise<void> {
    const attempt = this.attempts;
    try {
      this.ticket = (await buyer.socketTicket(this.event)).body.ticket;
    } catch (error) {
      // The seats can be followed without one; bookings are read when they end.
      console.warn('No ticket for live updates', error);
    }
    if (attempt === this.attempts && !this.stopped) this.connectPush();
  }

  private connectPush(): void {
    if (this.transport.value === 'socket') this.connectSocket();
    else this.connectStream();
  }

  private query(): URLSearchParams {
    const query = new URLSearchParams();
    if (this.resume) query.set('since', this.resume);
    if (this.namesUser) query.set('user_id', user.value);
    if (this.ticket) query.set('ticket', this.ticket);
    this.ticket = undefined;
    return query;
  }

  private connectSocket(): void {
    const url = new URL(`/ws/events/${this.event}?${this.query()}`, location.href);
    url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
    const socket = (this.socket = new WebSocket(url));
    // A gateway may open a socket and carry nothing: only what is heard counts.
    let opened = false;
    socket.onopen = () => {
      this.heardAt = Date.now();
      this.sendAdmission();
      this.heartbeat = setInterval(() => this.beat(socket), PING_MS);
    };
    socket.onmessage = (message) => {
      opened = true;
      if (socket === this.socket) this.hear(JSON.parse(message.data as string) as Push);
    };
    socket.onclose = () => {
      if (socket === this.socket) this.lost(opened);
    };
  }

  /** A connection that is half open says nothing: a ping that is not answered ends it. */
  private beat(socket: WebSocket): void {
    if (Date.now() - this.heardAt > SILENCE_MS) {
      this.drop();
      this.lost(true);
    } else if (socket.readyState === WebSocket.OPEN) socket.send('{"type":"ping"}');
  }

  private connectStream(): void {
    const query = this.query();
    if (this.admission) query.set('waiting_room_token', this.admission);
    const stream = (this.stream = new EventSource(`/api/v1/events/${this.event}/stream?${query}`));
    let opened = false;
    for (const type of STREAM_TYPES) {
      stream.addEventListener(type, (event) => {
        opened ||= event instanceof MessageEvent;
        if (stream === this.stream && event instanceof MessageEvent) this.hear(JSON.parse(event.data as string) as Push);
      });
    }
    stream.onerror = () => {
      if (stream !== this.stream) return;
      // The browser connects again by itself, unless it was refused.
      stream.close();
      this.lost(opened);
    };
  }

  private lost(wasOpen: boolean): void {
    clearInterval(this.heartbeat);
    if (this.stopped) return;
    if (this.connection.value === 'live') this.connection.value = 'lost';
    this.failures = wasOpen ? 1 : this.failures + 1;
    const waits = this.connection.value === 'connecting' ? FIRST_BACKOFF_MS : BACKOFF_MS;
    const wait = waits[Math.min(this.failures - 1, waits.length - 1)]!;
    this.timer = setTimeout(() => void this.tryAgain(wasOpen), wait * (0.25 + Math.random()));
  }

  /** A connection that was refused while the server answers is tried in another way. */
  private async tryAgain(wasOpen: boolean): Promise<void> {
    const attempt = this.attempts;
    if (!wasOpen && this.failures >= FAILURES_BEFORE_FALLBACK && (await isReachable())) {
      if (attempt !== this.attempts) return;
      // A server that trusts nobody's `user_id` refuses it: follow the seats without a name.
      if (this.namesUser) this.namesUser = false;
      else this.fallBack();
    }
    if (attempt === this.attempts) this.connect();
  }

  private fallBack(): void {
    this.failures = 0;
    if (this.transport.value === 'socket') this.transport.value = 'stream';
    else if (this.transport.value === 'stream') {
      this.transport.value = 'poll';
      this.pushLostAt = Date.now();
    }
  }

  private async poll(): Promise<void> {
    const attempt = this.attempts;
    let wait = POLL_MS;
    try {
      const answer = await pub.seatBytes(this.event, this.etag);
      if (attempt !== this.attempts) return;
      if (this.house) {
        if (answer.status !== 304) this.house.take(answer.body);
        this.etag = answer.headers.get('ETag') ?? undefined;
        this.alive();
      }
    } catch (error) {
      if (attempt !== this.attempts) return;
      if (this.connection.value === 'live') this.connection.value = 'lost';
      if (error instanceof Problem) wait = Math.max(wait, (error.retryAfterSeconds ?? 0) * 1000);
    }
    if (Date.now() - this.pushLostAt > RETRY_PUSH_MS) {
      this.failures = 0;
      this.transport.value = 'socket';
    }
    this.timer = setTimeout(() => this.connect(), wait * (0.9 + Math.random() * 0.2));
  }

  private alive(): void {
    const before = this.connection.value;
    this.connection.value = 'live';
    this.failures = 0;
    if (before === 'lost') this.onReconnect?.();
  }

  private hear(message: Push): void {
    this.heardAt = Date.now();
    if (!this.house) {
      if (this.early.length < EARLY_MAX) this.early.push(message);
      return;
    }
    switch (message.type) {
      case 'connected':
        // A resumed connection sends no snapshot if nothing changed: it is as current as the server.
        if (this.house.isKnown.value) this.alive();
        return;
      case 'snapshot':
        this.house.take(fromBase64(message.bytes ?? ''));
        this.version = message.version ?? 0;
        this.resume = message.resume;
        this.alive();
        return;
      case 'seat_update':
        if ((message.since ?? 0) > this.version) return;
        this.house.set(message.seat_ids ?? [], message.status ?? '');
        if (message.resume) {
          this.resume = message.resume;
          this.version = message.version ?? this.version;
        }
        return;
      case 'gap':
        this.resume = undefined;
        // What happened to the event itself is not known any more either.
        this.onPush?.(message);
        return;
      case 'pong':
        return;
      default:
        this.onPush?.(message);
    }
  }
}

async function isReachable(): Promise<boolean> {
  try {
    await send('/health/live', { timeoutMs: 3000 });
    return true;
  } catch {
    return false;
  }
}

function fromBase64(text: string): Uint8Array {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}
