/** What the API answers. Amounts are in minor units, times ISO 8601 in UTC. */

export type EventStatus = 'SCHEDULED' | 'ON_SALE' | 'PAUSED' | 'CLOSED';
export type BookingStatus = 'HOLD' | 'CONFIRMING' | 'CONFIRMED' | 'CANCELLED' | 'EXPIRED' | 'VOIDED';

export interface Section {
  name: string;
  price: number;
  first_seat_id: number;
  total_seats: number;
  general_admission: boolean;
  /** Rows in the order of the seats; none of general admission, and none in lists of events. */
  rows?: { name: string; seats: number }[];
}

export interface EventBody {
  id: number;
  name: string;
  description: string;
  venue: string;
  currency: string;
  starts_at: string | null;
  on_sale_at: string | null;
  off_sale_at: string | null;
  status: EventStatus;
  total_seats: number;
  available_seats?: number | null;
  availability?: 'AVAILABLE' | 'FEW_LEFT' | 'SOLD_OUT' | null;
  is_sold_out: boolean;
  hold_ttl_seconds: number;
  max_hold_seconds: number;
  max_seats_per_user: number;
  orphan_rule: 'off' | 'warn' | 'enforce';
  cancellation: 'allowed' | 'not_allowed';
  cancel_until: string | null;
  created_at: string;
  sections?: Section[];
}

export interface Page {
  total: number;
  next_cursor: string | null;
  as_of: string | null;
}
export type EventList = Page & { events: EventBody[] };
export type BookingList = Page & { bookings: Booking[] };

export interface BookedSeat {
  seat_id: number;
  section: string;
  row_number: string | null;
  seat_number: number;
  seat_label: string;
  price_at_booking: number;
}

export interface Receipt {
  booking_id: string;
  payment_id: string;
  amount: number;
  currency: string;
  seats: string[];
  paid_at: string;
}

export interface Booking {
  id: string;
  user_id: string;
  event_id: number;
  status: BookingStatus;
  total_amount: number;
  currency: string;
  hold_expires_at: string;
  time_remaining_seconds: number;
  payment_id: string | null;
  created_at: string;
  confirmed_at: string | null;
  cancelled_at: string | null;
  expired_at: string | null;
  version: number;
  durability: 'accepted' | 'replicated' | 'archived';
  seats: BookedSeat[];
  seats_left_alone?: number[];
  receipt?: Receipt | null;
}

export interface SeatBody {
  id: number;
  section: string;
  row_number: string | null;
  seat_number: number;
  status: 'AVAILABLE' | 'HOLD' | 'BOOKED' | 'BLOCKED';
}

export interface HoldRequest {
  event_id: number;
  seat_ids?: number[];
  section?: string;
  quantity?: number;
  together?: boolean;
  max_price?: number;
}

export type QueueState = 'queued' | 'gathering' | 'admitted' | 'open' | 'sold_out' | 'closed';
export interface QueueStatus {
  status: QueueState;
  position?: number | null;
  estimated_wait_seconds?: number | null;
  refresh_after_seconds: number;
  session_seconds_left?: number | null;
  on_sale_at?: string | null;
  admitted?: boolean;
  message: string;
}
export type Joined = QueueStatus & { token: string };

export interface RoomStats {
  event_id: number;
  enabled: boolean;
  method: string | null;
  queue_size: number;
  active_sessions: number;
  max_concurrent: number;
  slots_available: number;
  joined: number;
  served: number;
  by_surge: boolean;
  session_duration_seconds?: number;
}

export interface RoomSettings {
  max_concurrent?: number;
  session_duration?: number;
  session_cap?: number;
  claim_window?: number;
  per_minute?: number;
  method?: 'fifo' | 'random';
  shuffle?: boolean;
  automatic?: boolean;
}

export interface NewSection {
  name: string;
  price: number;
  capacity?: number;
  rows?: { row: string; seats: number }[];
}

/** A refusal (`application/problem+json`) with what it adds of its own. */
export interface ProblemBody {
  type: string;
  title: string;
  status: number;
  detail: string;
  error: string;
  trace_id: string;
  field?: string;
  rule?: string;
  reason?: string;
  seats?: { id: number; status: string }[];
  alternatives?: number[][];
  cancel_until?: string;
  [key: string]: unknown;
}
