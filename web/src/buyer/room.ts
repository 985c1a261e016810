import { signal } from '@preact/signals';
import { waiting } from '../api/client';
import { Problem } from '../api/http';
import { user } from '../api/identity';
import type { QueueStatus, RoomStats } from '../api/types';
import { serverNow } from '../base/clock';
import { device } from '../base/storage';
import { messageOf, type Message } from '../base/words';
import type { Push } from '../live/feed';

interface Kept {
  token: string;
  joinedAt: number;
  firstPosition: number | null;
}

export interface Place {
  state: 'queued' | 'gathering' | 'admitted';
  position: number | null;
  waitSeconds: number | null;
  joined: number | null;
  drawAt: string | null;
}

/** The buyer's place in the event's waiting room; kept on the device, so that a reload keeps it. */
export class Room {
  readonly stats = signal<RoomStats | null>(null);
  readonly place = signal<Place | null>(null);
  /** When the session ends, milliseconds of the server's time. */
  readonly sessionEndsAt = signal<number | null>(null);
  readonly message = signal<Message | null>(null);
  readonly kept = signal<Kept | null>(null);
  /** People a minute that the line has moved, from changes of the place. */
  readonly pace = signal<number | null>(null);
  onToken: ((token: string | undefined) => void) | undefined;
  onAdmitted: (() => void) | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private seen: { at: number; position: number }[] = [];

  constructor(
    private readonly event: number,
    private readonly isPushed: () => boolean,
  ) {}

  get token(): string | undefined {
    return this.kept.value?.token;
  }

  private get key(): string {
    return `room.${this.event}.${user.value}`;
  }

  /** Finds the place of before a reload, or joins if the room is on. */
  async start(): Promise<void> {
    await this.readStats();
    const kept = device.getJson<Kept>(this.key);
    if (kept) {
      this.keep(kept);
      await this.poll();
    } else if (this.stats.value?.enabled) await this.join();
  }

  async readStats(): Promise<void> {
    try {
      this.stats.value = (await waiting.stats(this.event)).body;
    } catch (error) {
      console.warn('No figures of the waiting room', error);
    }
  }

  async join(): Promise<void> {
    this.message.value = null;
    try {
      const { body } = await waiting.join(this.event);
      this.keep({ token: body.token, joinedAt: serverNow(), firstPosition: body.position ?? null });
      this.take(body);
    } catch (error) {
      if (error instanceof Problem && error.code === 'waiting_room_off') return this.clear();
      this.message.value = messageOf(error);
      if (error instanceof Problem && error.retryAfterSeconds) this.later(error.retryAfterSeconds, () => this.join());
    }
  }

  async leave(): Promise<void> {
    const token = this.token;
    if (!token) return;
    try {
      await waiting.leave(this.event, token);
      this.clear();
    } catch (error) {
      this.message.value = messageOf(error);
    }
  }

  /** Forgets the place: it was given up, served or lost. */
  clear(): void {
    clearTimeout(this.timer);
    this.keep(null);
    this.place.value = this.sessionEndsAt.value = null;
  }

  private keep(kept: Kept | null): void {
    this.kept.value = kept;
    device.setJson(this.key, kept);
    this.onToken?.(kept?.token);
  }

  private later(seconds: number, act: () => Promise<void>): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void act(), seconds * 1000 * (1 + Math.random() * 0.1));
  }

  /** Asks for the place: the first time, and while no socket says it. A poll claims a served place. */
  async poll(): Promise<void> {
    const token = this.token;
    if (!token) return;
    try {
      this.take((await waiting.status(this.event, token)).body);
    } catch (error) {
      if (error instanceof Problem && error.code === 'waiting_room_token_invalid') return this.lost(String(error.body.reason ?? ''));
      this.later(error instanceof Problem ? (error.retryAfterSeconds ?? 5) : 3, () => this.poll());
    }
  }

  private take(status: QueueStatus): void {
    if (status.status === 'open' || status.status === 'sold_out' || status.status === 'closed') return this.clear();
    if (status.status === 'admitted') this.admit(serverNow() + Math.max(1, status.session_seconds_left ?? 0) * 1000);
    else {
      const joined = this.stats.value?.joined ?? null;
      this.place.value = { state: status.status, position: status.position ?? null, waitSeconds: status.estimated_wait_seconds ?? null, joined, drawAt: status.on_sale_at ?? null };
      this.notePosition(status.position ?? null);
      if (this.isPushed()) this.later(Math.max(30, status.refresh_after_seconds), () => this.poll());
      else this.later(status.refresh_after_seconds, () => this.poll());
    }
  }

  private admit(endsAt: number): void {
    clearTimeout(this.timer);
    const isNew = this.place.value?.state !== 'admitted';
    this.place.value = { state: 'admitted', position: null, waitSeconds: null, joined: null, drawAt: null };
    this.sessionEndsAt.value = endsAt;
    if (isNew) this.onAdmitted?.();
  }

  private notePosition(position: number | null): void {
    const kept = this.kept.value;
    if (position === null || !kept) return;
    if (kept.firstPosition === null) this.keep({ ...kept, firstPosition: position });
    this.seen = [...this.seen.filter((one) => one.at > Date.now() - 120_000), { at: Date.now(), position }];
    const first = this.seen[0]!;
    const minutes = (Date.now() - first.at) / 60_000;
    if (minutes > 0.05 && first.position > position) this.pace.value = (first.position - position) / minutes;
  }

  private lost(reason: string): void {
    const text =
      reason === 'session_ended' ? 'Your time to choose has ended.' : reason === 'lapsed' ? 'Your turn came and was not taken.' : reason === 'superseded' ? 'Another page has taken your place in line.' : 'Your place in line has ended.';
    this.clear();
    this.message.value = { tone: 'warn', text };
  }

  /** The session's time is over by this page's clock: the server says whether it is. */
  checkSession(): void {
    this.sessionEndsAt.value = null;
    void this.poll();
  }

  /** Takes a pushed message; returns whether it was about the room. */
  hear(push: Push): boolean {
    const before = this.place.value;
    switch (push.type) {
      case 'position':
        this.take({ status: 'queued', position: push.position ?? null, estimated_wait_seconds: push.estimated_wait_seconds ?? null, refresh_after_seconds: push.refresh_after_seconds ?? 5, message: '' });
        return true;
      case 'gathering':
        this.take({ status: 'gathering', refresh_after_seconds: push.refresh_after_seconds ?? 30, on_sale_at: push.on_sale_at ?? null, message: '' });
        this.place.value = { ...this.place.value!, joined: push.joined ?? before?.joined ?? null };
        return true;
      case 'admitted': {
        const kept = this.kept.value;
        if (push.token && kept && push.token !== kept.token) this.keep({ ...kept, token: push.token });
        this.admit(Date.parse(push.session_expires_at ?? ''));
        return true;
      }
      case 'waiting_room_off':
        this.clear();
        return true;
      case 'registration_confirmed':
        return true;
      case 'error':
        if (push.error === 'waiting_room_token_invalid') void this.poll();
        return true;
      default:
        return false;
    }
  }
}
