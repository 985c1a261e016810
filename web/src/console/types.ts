/** What the routes below `/api/v1/admin` answer. Amounts are in minor units, times ISO 8601 in UTC. */
import type { BookingStatus, EventStatus } from '../api/types';

export interface Whoami {
  name: string;
  is_open: boolean;
  is_development: boolean;
  payment_provider: string;
  is_payment_simulated: boolean;
  version: string;
  now: string;
}

export interface SeatCounts {
  total: number;
  free: number;
  held: number;
  sold: number;
  blocked: number;
}

export interface RoomFigures {
  status: 'off' | 'on' | 'surge' | 'draw';
  is_automatic: boolean | null;
  waiting: number;
  admitted: number;
  sessions: number;
  max_concurrent_users: number;
  session_duration_seconds: number;
  method: string;
  per_minute: number | null;
  shuffle: boolean | null;
}
export interface NamedRoom {
  event_id: number;
  event_name: string;
  waiting_room: RoomFigures;
}

export const PLACES = ['memory', 'redis', 'waiting_room', 'limits'] as const;
export type Place = (typeof PLACES)[number];

/** Counts per step, oldest first; the last two may still rise. */
export interface Series {
  step_seconds: number;
  from: string;
  points: number;
  /** API processes that counted anything. */
  processes: number;
  held: number[];
  paid: number[];
  confirmed: number[];
  cancelled: number[];
  expired: number[];
  declined: number[];
  seats_held: number[];
  seats_confirmed: number[];
  seats_returned: number[];
  refused: Record<Place, number[]>;
  refused_by_reason: Record<string, number[]>;
}

interface Dependency {
  status: string;
  response_ms: number | null;
  detail: string | null;
}

export interface Overview {
  as_of: string;
  event: {
    id: number;
    name: string;
    status: EventStatus;
    currency: string;
    on_sale_at: string | null;
    seats: SeatCounts | null;
    takings: { sold: number; held: number } | null;
    holds_open: number | null;
  } | null;
  waiting_room: RoomFigures | null;
  archive: {
    entries_behind: number | null;
    seconds_behind: number;
    log_entries: number;
    log_entries_max: number;
    dead_letters: number;
    silent_partitions: number[];
  } | null;
  health: {
    status: string;
    redis: Dependency & { memory_used_bytes: number | null; memory_limit_bytes: number | null };
    mongodb: Dependency;
    live: string;
    tasks: string;
    circuit_breakers: Record<string, string>;
    failing_tasks: string[];
    workers: { name: string; last_read_seconds: number; pending: number }[];
  };
  /** Not while Redis does not answer. */
  series: Series | null;
}

export interface AdminSeat {
  seat_id: number;
  label: string;
  section: string;
  row: string | null;
  price: number | null;
}
export type ArchivedStatus = BookingStatus | 'COMMITTED';

export interface AdminBooking {
  booking_id: string;
  event_id: number;
  user_id: string;
  status: ArchivedStatus;
  outcome: 'sold' | 'cancelled' | 'refund' | null;
  seats: AdminSeat[];
  total_amount: number;
  currency: string;
  payment_id: string | null;
  created_at: string;
  hold_expires_at: string;
  paid_at: string | null;
  confirmed_at: string | null;
  ended_at: string | null;
}
export interface AdminBookings {
  event_id: number;
  as_of: string | null;
  next_cursor: string | null;
  bookings: AdminBooking[];
}

export interface SeatHit {
  type: 'seat';
  event_id: number;
  event_name: string;
  seat_id: number;
  label: string;
  section: string;
  row: string | null;
  state: 'AVAILABLE' | 'HOLD' | 'BOOKED' | 'BLOCKED' | null;
  booking_id: string | null;
}
export interface SearchResult {
  q: string;
  hits: ({ type: 'booking'; booking: AdminBooking } | { type: 'user'; user_id: string; bookings: number } | SeatHit)[];
}

/** A booking as one store has it. */
export interface StoredBooking {
  status: ArchivedStatus;
  version: number;
  user_id: string;
  total_amount: number;
  currency: string;
  payment_id: string | null;
  lease: number | null;
  created_at: string;
  hold_expires_at: string;
  paid_at: string | null;
  confirmed_at: string | null;
  ended_at: string | null;
  trace: string | null;
}
export type Step = 'held' | 'extended' | 'paying' | 'declined' | 'sold' | 'confirmed' | 'voided' | 'cancelled' | 'expired' | 'restored';
export interface TimelineStep {
  at: string;
  step: Step;
  after_ms: number;
}
export interface LedgerLine {
  at: string;
  kind: string;
  status: ArchivedStatus;
  version: number;
  generation: number;
  log_id: string;
  hold_expires_at: string | null;
  lease: number | null;
  payment_id: string | null;
  detail: string | null;
}
export interface BookingDetail {
  booking_id: string;
  event_id: number;
  event_name: string | null;
  user_id: string;
  status: ArchivedStatus;
  total_amount: number;
  currency: string;
  is_agreed: boolean;
  differences: string[];
  redis: { state: 'found' | 'unknown' | 'event_not_loaded'; record: StoredBooking | null };
  archive: { state: 'found' | 'unknown'; record: StoredBooking | null; outcome: string | null; generation: number | null; cancel_unsettled_since: string | null };
  provider: {
    state: 'found' | 'none' | 'unavailable';
    provider: string;
    payment_id: string | null;
    status: string | null;
    amount: number | null;
    currency: string | null;
    refunded_amount: number | null;
    refund_pending_amount: number | null;
    /** One that did not succeed at once. */
    refund: { state: 'pending' | 'done' | 'failed'; amount: number; since: string; failures: number; reason: string | null } | null;
    detail: string | null;
  };
  seats: (AdminSeat & { claimed_by: string | null; is_own_claim: boolean })[];
  timeline: TimelineStep[];
  ledger: LedgerLine[];
  is_ledger_cut: boolean;
}

/** A line of an event's log. */
export interface LogLine {
  type: 'started' | 'entry' | 'skipped' | 'gap' | 'heartbeat';
  at: string;
  kind?: string;
  booking_id?: string | null;
  user_id?: string | null;
  status?: string | null;
  seat_ids?: number[];
  seat_labels?: string[];
  section?: string | null;
  total_amount?: number | null;
  currency?: string | null;
  by?: string | null;
  detail?: string | null;
  entries?: number;
}

export interface Verdict {
  is_clean: boolean;
  took_ms: number;
  is_cut?: boolean;
}
export type VerifyVerdict = Verdict & {
  problems: string[];
  partitions: { partition: number; entries: number; problems: string[] }[];
  events: { event_id: number; name: string; undecided: number; bookings_in_redis: number; bookings_in_archive: number; problems: string[] }[];
};
export type ReconcileVerdict = Verdict & {
  payments: number;
  totals: { currency: string; sold: number; charged: number; refunded: number; refund_pending: number }[];
  differences: { booking_id: string; problem: string }[];
  fixed: { booking_id: string; result: string }[];
};

export type LimitMode = 'each' | 'enforce' | 'observe' | 'off';
interface Setting {
  value: string;
  from: string;
}
export interface LimitRule {
  name: string;
  scope: string;
  routes: string[];
  counts: string;
  limit: { quota: number; window_seconds: number } | { per_second: number; burst: number };
  mode: LimitMode;
  mode_from: string;
  place: string;
  when_redis_is_away: string | null;
}
export interface Limits {
  mode: Setting;
  profile: Setting;
  bots: Setting;
  problem: string | null;
  changed_by: string | null;
  changed_at: string | null;
  rules: LimitRule[];
}
export interface Access {
  entries: { access: string; subject: string; reason: string; by: string; at: string; until: string | null }[];
}
export interface DeadLetters {
  total: number;
  letters: DeadLetter[];
  /** Partitions whose letters are not known, since their Redis does not answer. */
  silent_partitions?: number[];
}
export interface DeadLetter {
  id: string;
  partition: number;
  entry_id: string;
  reason: string;
  parked_at: string;
  kind: string | null;
  booking_id: string | null;
  event_id: number | null;
  is_readable: boolean;
}
export interface Replayed {
  id: string;
  result: 'replayed' | 'stays' | 'later';
  outcome: string | null;
  detail: string | null;
}
export interface AuditAct {
  at: string;
  who: string;
  act: string;
  target: string;
  detail: string;
  trace_id: string | null;
  result: string;
}

export interface SaleReport {
  event_id: number;
  name: string;
  currency: string;
  as_of: string | null;
  takings: { sold: number; cancelled: number; seats_sold: number; bookings_sold: number };
  sections: { name: string; price: number; seats: number; seats_sold: number; takings: number }[];
  hours: { hour: string; bookings: number; seats: number; takings: number }[];
  funnel: { asked: number; held: number; paid: number };
  refused: Record<string, number>;
  refused_by_place: Record<Place, number>;
  counted_since: string | null;
  is_cut: boolean;
}
export interface Demand {
  event_id: number;
  since: string;
  seats: number;
  held: number[];
  returned: number[];
  max_held: number;
}
