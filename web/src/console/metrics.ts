import { signal } from '@preact/signals';
import { admin } from './admin';

/** Sums of what one API process has counted since it started. */
export interface Sample {
  at: number;
  attempts: number;
  granted: number;
  created: number;
  confirmed: number;
  cancelled: number;
  /** Refused requests for seats, by where. */
  memory: number;
  redis: number;
  room: number;
  limits: number;
  problems: Record<string, number>;
  sockets: number;
}

export interface Rate {
  at: number;
  granted: number;
  taken: number;
  gated: number;
  confirmed: number;
}

const EVERY_MS = 3000;
const KEEP_MS = 15 * 60_000;

export const sample = signal<Sample | null>(null);
/** Rates between samples, 15 minutes of them. */
export const rates = signal<Rate[]>([]);
export const metricsLost = signal(false);
let timer: ReturnType<typeof setInterval> | undefined;
let users = 0;

/** Follows the metrics while somebody looks. Returns how to stop. */
export function followMetrics(): () => void {
  users++;
  if (!timer) {
    void read();
    timer = setInterval(() => !document.hidden && void read(), EVERY_MS);
  }
  return () => {
    if (--users > 0) return;
    clearInterval(timer);
    timer = undefined;
  };
}

async function read(): Promise<void> {
  try {
    const next = parse((await admin.metrics()).body);
    const before = sample.value;
    sample.value = next;
    metricsLost.value = false;
    // A process that has restarted, or another one behind a balancer, counts from elsewhere.
    if (!before || next.attempts < before.attempts || next.created < before.created) return;
    const seconds = (next.at - before.at) / 1000;
    const rate = (name: 'granted' | 'memory' | 'redis' | 'room' | 'limits' | 'confirmed') => Math.max(0, next[name] - before[name]) / seconds;
    const point = { at: next.at, granted: rate('granted'), taken: rate('memory') + rate('redis'), gated: rate('room') + rate('limits'), confirmed: rate('confirmed') };
    rates.value = [...rates.value.filter((one) => one.at > next.at - KEEP_MS), point];
  } catch (error) {
    metricsLost.value = true;
    console.warn('No metrics', error);
  }
}

/** Reads Prometheus' text format, without histograms. */
export function parse(text: string): Sample {
  const sums = new Map<string, number>();
  const problems: Record<string, number> = {};
  for (const line of text.split('\n')) {
    const match = /^([a-z_]+)(?:\{([^}]*)\})? ([0-9.eE+-]+)$/.exec(line);
    if (!match || match[1]!.endsWith('_bucket')) continue;
    const [, name = '', labels = '', number = '0'] = match;
    const value = Number(number);
    sums.set(name, (sums.get(name) ?? 0) + value);
    if (labels) sums.set(`${name}{${labels}}`, value);
    const error = name === 'holdfast_problems_total' ? /error="([^"]+)"/.exec(labels)?.[1] : undefined;
    if (error && value > 0) problems[error] = value;
  }
  const get = (name: string) => sums.get(name) ?? 0;
  const fromView = (reason: string) => get(`holdfast_refused_from_view_total{reason="${reason}"}`);
  const room = fromView('waiting_room_required');
  const memory = get('holdfast_refused_from_view_total') - room;
  const seats = fromView('seats_unavailable') + fromView('too_few_seats');
  return {
    at: Date.now(),
    attempts: get('booking_attempts_total'),
    granted: get('booking_success_total'),
    created: get('bookings_created_total'),
    confirmed: get('bookings_confirmed_total'),
    cancelled: get('bookings_cancelled_total'),
    memory,
    redis: Math.max(0, get('booking_conflicts_total') - seats),
    room: Math.max(room, problems['waiting_room_required'] ?? 0),
    limits: (problems['rate_limit_exceeded'] ?? 0) + (problems['automated_access'] ?? 0) + (problems['too_many_connections'] ?? 0),
    problems,
    sockets: get('holdfast_sockets_open'),
  };
}
