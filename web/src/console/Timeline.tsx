import type { JSX } from 'preact';
import { serverNow } from '../base/clock';
import { formatAge, formatMoney, formatUtcTime, plural } from '../base/format';
import type { BookingDetail, Step } from './types';

type Tone = 'action' | 'ok' | 'bad' | 'warn' | 'none';
const TITLES: Record<Step, [Tone, string]> = {
  held: ['action', 'Held'],
  extended: ['action', 'Time added'],
  paying: ['none', 'Payment began'],
  declined: ['bad', 'Payment declined'],
  sold: ['ok', 'Paid'],
  confirmed: ['ok', 'Confirmed'],
  voided: ['bad', 'Voided'],
  cancelled: ['none', 'Cancelled'],
  expired: ['warn', 'Lapsed'],
  restored: ['warn', 'Restored'],
};

function textOf(booking: BookingDetail, index: number): string {
  const { step } = booking.timeline[index]!;
  const line = booking.ledger[index];
  const seats = plural(booking.seats.length, 'seat');
  const money = formatMoney(booking.total_amount, booking.currency);
  const until = line?.hold_expires_at ? formatUtcTime(line.hold_expires_at, false) : '';
  const attempts = booking.timeline.slice(0, index + 1).filter((one) => one.step === 'paying').length;
  const wasSold = booking.timeline.slice(0, index).some((one) => one.step === 'sold');
  const texts: Record<Step, string> = {
    held: until ? `${seats}, until ${until}` : seats,
    extended: until && `Held until ${until}`,
    paying: `Attempt ${attempts}`,
    declined: `${line?.detail ? `${line.detail}. ` : ''}The seats stay held`,
    sold: `${money}, ${seats} claimed`,
    confirmed: 'On a majority of the archive',
    voided: `The seats went to someone else. ${money} goes back`,
    cancelled: wasSold ? `${money} goes back, the seats are on sale` : 'The seats are on sale. Nothing was charged',
    expired: 'The hold came to its end. Nothing was charged',
    restored: line?.detail ?? 'Read back from the archive',
  };
  return texts[step];
}

/** The course of a booking in words: one line for each entry of its ledger. */
export function Steps({ booking }: { booking: BookingDetail }): JSX.Element {
  return (
    <ol class="steps-list">
      {booking.timeline.map((one, index) => {
        const [tone, title] = TITLES[one.step];
        const line = booking.ledger[index];
        const before = booking.timeline[index - 1];
        return (
          <li class={tone}>
            <time class="mono">{formatUtcTime(one.at)}</time>
            <span class="mono t3 num delta">{before ? `+${formatAge(one.after_ms - before.after_ms)}` : ''}</span>
            <i class="node" />
            <b>{title}</b>
            <span class="t2 grow cut">{textOf(booking, index)}</span>
            {line && <span class="mono t3 wide-only">{line.kind} v{line.version}</span>}
          </li>
        );
      })}
      {!booking.timeline.length && <li class="t3">The archive has no entries of it yet.</li>}
    </ol>
  );
}

/** The ledger as it is kept. */
export function Ledger({ booking }: { booking: BookingDetail }): JSX.Element {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Ledger">
      <table class="ledger">
        <thead><tr><th>At (UTC)</th><th>Kind</th><th>Status</th><th class="num">Version</th><th class="num">Lease</th><th>Log</th><th>Payment</th><th>Detail</th></tr></thead>
        <tbody>
          {booking.ledger.map((line) => (
            <tr>
              <td class="mono">{formatUtcTime(line.at)}</td>
              <td class="mono">{line.kind}</td>
              <td class="mono">{line.status}</td>
              <td class="num">{line.version}</td>
              <td class="num">{line.lease ?? '–'}</td>
              <td class="mono t3">{line.generation}/{line.log_id}</td>
              <td class="mono t3">{line.payment_id ?? '–'}</td>
              <td class="t2 reason">{line.detail ?? '–'}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

// -- Lanes -----------------------------------------------------------------------------------------

const WIDTH = 780;
const LEFT = 120;
const LANES = { hold: 40, payment: 86, ledger: 132 };
const BAR = 28;

interface Attempt {
  from: number;
  to: number;
  text: string;
  tone: Tone;
}

/** Payments: each from its beginning to its end. */
function attemptsOf(booking: BookingDetail): Attempt[] {
  const attempts: Attempt[] = [];
  for (const { step, at } of booking.timeline) {
    const time = Date.parse(at);
    const last = attempts[attempts.length - 1];
    if (step === 'paying') attempts.push({ from: time, to: time, text: 'Under way', tone: 'none' });
    else if (last && (step === 'declined' || step === 'sold' || step === 'voided') && last.text === 'Under way') {
      const word = step === 'sold' ? 'Paid' : step === 'declined' ? 'Declined' : 'Voided';
      Object.assign(last, { to: time, text: `${word}, ${formatAge(time - last.from)}`, tone: step === 'sold' ? 'ok' : 'bad' });
    }
  }
  return attempts;
}

/** How long the seats were held, when money moved, when it was written down. */
export function Lanes({ booking }: { booking: BookingDetail }): JSX.Element | null {
  const { timeline } = booking;
  const first = timeline[0];
  const record = booking.redis.record ?? booking.archive.record;
  if (!first || !record) return null;
  const times = timeline.map((one) => Date.parse(one.at));
  const start = times[0]!;
  const limit = Date.parse(record.hold_expires_at);
  const isOpen = booking.status === 'HOLD' || booking.status === 'CONFIRMING';
  const endIndex = timeline.findIndex((one) => ['sold', 'expired', 'voided', 'cancelled'].includes(one.step));
  const end = isOpen ? Math.min(limit, serverNow()) : endIndex < 0 ? limit : times[endIndex]!;
  // A refund a week later would leave no room for the hold: what lies far behind its end is cut.
  const shown = times.filter((time) => time <= end + Math.max(60_000, (end - start) * 2));
  const last = Math.max(end, shown[shown.length - 1] ?? end, isOpen ? limit : 0, start + 2000);
  const from = start - (last - start) * 0.05;
  const to = last + (last - start) * 0.14;
  const x = (at: number) => LEFT + ((at - from) / (to - from)) * (WIDTH - LEFT - 16);
  const ticks = Array.from({ length: 5 }, (_, i) => from + ((to - from) * (i + 0.5)) / 5);
  const barEnd = Math.max(x(start) + 6, x(end));
  const confirmed = timeline.findIndex((one) => one.step === 'confirmed');
  return (
    <svg class="lanes" viewBox={`0 0 ${WIDTH} 176`} role="img" aria-label="Course of the booking">
      {ticks.map((at) => (
        <g>
          <line x1={x(at)} x2={x(at)} y1={26} y2={166} class="grid-line" />
          <text x={x(at)} y={16} class="axis middle">{new Date(at).toISOString().slice(11, to - from < 20_000 ? 21 : 19)}</text>
        </g>
      ))}
      <text x={16} y={LANES.hold + 18} class="lane">Hold</text>
      <text x={16} y={LANES.payment + 18} class="lane">Payment</text>
      <text x={16} y={LANES.ledger + 18} class="lane">Ledger</text>
      {isOpen && limit > end && <rect x={barEnd} y={LANES.hold} width={Math.max(0, x(limit) - barEnd)} height={BAR} class="rest" />}
      <rect x={x(start)} y={LANES.hold} width={barEnd - x(start)} height={BAR} rx={5} class="hold" />
      {barEnd - x(start) > 80 && <text x={x(start) + 10} y={LANES.hold + 18} class="on-hold">{plural(booking.seats.length, 'seat')} held</text>}
      {timeline.map((one, index) => one.step === 'extended' && <line x1={x(times[index]!)} x2={x(times[index]!)} y1={LANES.hold} y2={LANES.hold + BAR} class="added" />)}
      {attemptsOf(booking).map((attempt) => <Mark attempt={attempt} x={x} />)}
      {timeline.map((_, index) => times[index]! <= to && <circle cx={x(times[index]!)} cy={LANES.ledger + 14} r={4} class={`entry ${index === confirmed ? 'ok' : ''}`} />)}
      {confirmed > 0 && <text x={x(times[confirmed]!) + 10} y={LANES.ledger + 18} class="axis">{formatAge(times[confirmed]! - times[confirmed - 1]!)}</text>}
    </svg>
  );
}

function Mark({ attempt, x }: { attempt: Attempt; x: (at: number) => number }): JSX.Element {
  const left = x(attempt.from);
  const right = Math.max(left + 8, x(attempt.to));
  const isLeft = right > WIDTH - 130;
  return (
    <g class={`mark ${attempt.tone}`}>
      <rect x={left} y={LANES.payment} width={right - left} height={BAR} rx={3} />
      <text x={isLeft ? left - 8 : right + 8} y={LANES.payment + 18} text-anchor={isLeft ? 'end' : 'start'}>{attempt.text}</text>
    </g>
  );
}
