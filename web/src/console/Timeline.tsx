import type { JSX } from 'preact';
import type { Booking } from '../api/types';
import { serverNow } from '../base/clock';
import { formatMoney, formatUtcTime, plural } from '../base/format';

interface Step {
  at: string;
  title: string;
  text: string;
  tone: 'action' | 'ok' | 'bad' | 'warn' | 'none';
}

/** What a booking tells of its own course. */
export function stepsOf(booking: Booking): Step[] {
  const money = formatMoney(booking.total_amount, booking.currency);
  const steps: Step[] = [{ at: booking.created_at, title: 'Held', text: `${plural(booking.seats.length, 'seat')}, until ${formatUtcTime(booking.hold_expires_at, false)}`, tone: 'action' }];
  const add = (at: string | null, step: Omit<Step, 'at'>) => at && steps.push({ at, ...step });
  add(booking.confirmed_at, { title: 'Confirmed', text: `${money} paid, recorded in the archive`, tone: 'ok' });
  add(booking.expired_at, { title: 'Lapsed', text: 'The hold came to its end. Nothing was charged', tone: 'warn' });
  add(booking.cancelled_at, { title: 'Cancelled', text: booking.confirmed_at ? `${money} goes back, the seats are on sale` : 'The seats are on sale. Nothing was charged', tone: 'none' });
  if (booking.status === 'VOIDED') steps.push({ at: booking.cancelled_at ?? booking.expired_at ?? booking.hold_expires_at, title: 'Voided', text: `The seats went to someone else. ${money} goes back`, tone: 'bad' });
  return steps.sort((a, b) => a.at.localeCompare(b.at));
}

const WIDTH = 780;
const LEFT = 120;

/** Lanes: how long the seats were held, when money moved. */
export function Timeline({ booking }: { booking: Booking }): JSX.Element {
  const start = Date.parse(booking.created_at);
  const limit = Date.parse(booking.hold_expires_at);
  const endIso = booking.confirmed_at ?? booking.expired_at ?? booking.cancelled_at;
  const isOpen = booking.status === 'HOLD' || booking.status === 'CONFIRMING';
  const end = isOpen ? Math.min(limit, serverNow()) : endIso ? Date.parse(endIso) : limit;
  const last = Math.max(end, booking.cancelled_at ? Date.parse(booking.cancelled_at) : 0, isOpen ? limit : 0, start + 2000);
  const from = start - (last - start) * 0.05;
  const to = last + (last - start) * 0.12;
  const x = (at: number) => LEFT + ((at - from) / (to - from)) * (WIDTH - LEFT - 16);
  const ticks = Array.from({ length: 5 }, (_, i) => from + ((to - from) * (i + 0.5)) / 5);
  const confirmed = booking.confirmed_at ? Date.parse(booking.confirmed_at) : null;
  const cancelled = booking.confirmed_at && booking.cancelled_at ? Date.parse(booking.cancelled_at) : null;
  const barEnd = x(end);
  return (
    <svg class="lanes" viewBox={`0 0 ${WIDTH} 140`} role="img" aria-label="Course of the booking">
      {ticks.map((at) => (
        <g>
          <line x1={x(at)} x2={x(at)} y1={26} y2={130} class="grid-line" />
          <text x={x(at)} y={16} class="axis middle">{new Date(at).toISOString().slice(11, to - from < 20_000 ? 21 : 19)}</text>
        </g>
      ))}
      <text x={16} y={58} class="lane">Hold</text>
      <text x={16} y={104} class="lane">Payment</text>
      {limit > end && isOpen && <rect x={barEnd} y={40} width={Math.max(0, x(limit) - barEnd)} height={28} class="rest" />}
      <rect x={x(start)} y={40} width={Math.max(6, barEnd - x(start))} height={28} rx={5} class="hold" />
      {barEnd - x(start) > 80 && <text x={x(start) + 10} y={58} class="on-hold">{plural(booking.seats.length, 'seat')} held</text>}
      {confirmed && <Mark at={x(confirmed)} text="Paid" tone="ok" />}
      {cancelled && <Mark at={x(cancelled)} text="Refunded" tone="none" />}
      {!confirmed && <text x={x(start)} y={104} class="axis">{booking.status === 'CONFIRMING' ? 'Under way' : '–'}</text>}
    </svg>
  );
}

function Mark({ at, text, tone }: { at: number; text: string; tone: string }): JSX.Element {
  return (
    <g class={`mark ${tone}`}>
      <rect x={at - 4} y={86} width={8} height={28} rx={3} />
      <text x={at - 12} y={104} text-anchor="end">{text}</text>
    </g>
  );
}
