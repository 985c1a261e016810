import type { JSX } from 'preact';
import { useEffect, useMemo } from 'preact/hooks';
import { formatMoney, formatUtcTime, plural } from '../base/format';
import { EventLog } from './log';
import { pathOf } from './router';
import type { LogLine } from './types';

const SHOWN = 14;
/** What is said of a line, and its tone. Lines that only repeat another's news are left out. */
const KINDS: Record<string, [string, string]> = {
  hold: ['action', 'Held'],
  extend: ['none', 'Time added'],
  confirm_abort: ['bad', 'Declined'],
  sold: ['ok', 'Sold'],
  voided: ['bad', 'Voided'],
  cancelled: ['none', 'Given up'],
  expired: ['warn', 'Lapsed'],
  blocked: ['none', 'Blocked'],
  unblocked: ['none', 'Released'],
  event: ['action', 'Event'],
  opened: ['action', 'Opened'],
  unloaded: ['none', 'Unloaded'],
  restored: ['warn', 'Restored'],
};

/** Bookings as they happen; the newest first. */
export function LogCard({ id, currency }: { id: number; currency: string }): JSX.Element {
  const log = useMemo(() => new EventLog(id), [id]);
  useEffect(() => () => log.stop(), [log]);
  const isLive = log.isLive.value;
  const lines = log.lines.value.filter((line) => line.type !== 'entry' || KINDS[line.kind ?? '']).slice(0, SHOWN);
  return (
    <section class="card feed">
      <div class="row head">
        <h2>Bookings</h2>
        <span class={`badge ${isLive ? 'ok' : ''}`}><i class="dot" />{isLive ? 'Live' : 'Connecting'}</span>
        <span class="grow" />
        <a href={pathOf('bookings')}>All</a>
      </div>
      {lines.length === 0 && <p class="empty">No bookings yet. They appear here as they happen.</p>}
      <ol>{lines.map((line) => <Line line={line} currency={currency} key={`${line.at}-${line.booking_id}-${line.kind}-${line.type}`} />)}</ol>
    </section>
  );
}

function Line({ line, currency }: { line: LogLine; currency: string }): JSX.Element {
  const time = <time class="t3">{formatUtcTime(line.at, false)}</time>;
  if (line.type !== 'entry') {
    return <li>{time}<span class="t3 grow">{line.type === 'gap' ? 'Entries may be missing here.' : `${plural(line.entries ?? 0, 'entry', 'entries')} left out: too many at once.`}</span></li>;
  }
  const [tone, word] = KINDS[line.kind!]!;
  const text = line.booking_id ? `${line.section ?? ''} ${seatsOf(line)}` : [seatsOf(line), line.detail, line.by && `by ${line.by}`].filter(Boolean).join(' · ');
  const content = (
    <>
      {time}
      <span class={`word ${tone}`}><i class={`dot ${tone}`} />{line.kind === 'cancelled' && line.status === 'CANCELLED' && line.detail === 'refund' ? 'Refunded' : word}</span>
      <span class="grow cut">{text}</span>
      <b>{line.booking_id && line.total_amount != null ? formatMoney(line.total_amount, line.currency ?? currency) : ''}</b>
    </>
  );
  return <li>{line.booking_id ? <a href={pathOf('bookings', line.booking_id)}>{content}</a> : content}</li>;
}

/** "K-20, 21, 22", and "K-20 to 29" for more than three. */
function seatsOf(line: LogLine): string {
  const labels = line.seat_labels ?? [];
  if (!labels.length) return line.seat_ids?.length ? plural(line.seat_ids.length, 'seat') : '';
  const row = /^(.*-)\d+$/.exec(labels[0]!)?.[1];
  const short = labels.map((label, index) => (index && row && label.startsWith(row) ? label.slice(row.length) : label));
  return short.length > 3 ? `${short[0]} to ${short[short.length - 1]}` : short.join(', ');
}
