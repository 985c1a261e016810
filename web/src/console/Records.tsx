import type { JSX } from 'preact';
import { formatMoney, shortId } from '../base/format';
import { Icon } from '../base/icons';
import { BOOKING_WORDS } from './parts';
import type { BookingDetail, StoredBooking } from './types';

type Row = [string, (record: StoredBooking) => string];
const ROWS: Row[] = [
  ['Status', (record) => BOOKING_WORDS[record.status]?.[1] ?? record.status],
  ['Version', (record) => String(record.version)],
  ['Amount', (record) => formatMoney(record.total_amount, record.currency)],
  ['Payment', (record) => (record.payment_id ? shortId(record.payment_id) : '–')],
];
const STATES: Record<string, string> = { event_not_loaded: 'event not loaded', unknown: 'not there', none: 'nothing charged', unavailable: 'no answer' };
const OUTCOMES: Record<string, string> = { sold: 'Sold', cancelled: 'Cancelled', refund: 'Refund' };

/** What Redis, the archive and the payment provider each say. */
export function Records({ booking }: { booking: BookingDetail }): JSX.Element {
  const { redis, archive, provider } = booking;
  const value = (record: StoredBooking | null, [, read]: Row) => (record ? read(record) : '–');
  const charged = provider.amount !== null && provider.currency ? formatMoney(provider.amount, provider.currency) : '–';
  const providerValues: Record<string, string> = { Status: provider.status ?? STATES[provider.state] ?? '–', Amount: charged, Payment: provider.payment_id ? shortId(provider.payment_id) : '–' };
  const hasBoth = redis.record !== null && archive.record !== null;
  const title = !booking.is_agreed ? 'The stores differ' : hasBoth ? 'Redis and archive agree' : `Only ${redis.record ? 'Redis' : 'the archive'} has it`;
  return (
    <section class="card records">
      <div class="row head">
        <span class={`verdict ${booking.is_agreed ? 'ok' : 'bad'}`}><Icon name={booking.is_agreed ? 'check' : 'warn'} size={12} /></span>
        <h2 class="grow">{title}</h2>
      </div>
      {booking.differences.length > 0 && <ul class="differences">{booking.differences.map((one) => <li>{one}</li>)}</ul>}
      <div class="scroll" tabIndex={0} role="region" aria-label="Records">
        <table>
          <thead><tr><td /><th>Redis</th><th>Archive</th><th>{provider.provider === 'stripe' ? 'Stripe' : 'Provider'}</th></tr></thead>
          <tbody>
            {ROWS.map((row) => (
              <tr>
                <th class="t3">{row[0]}</th>
                <td class={row[0] === 'Payment' ? 'mono' : ''}>{row[0] === 'Status' && !redis.record ? STATES[redis.state] : value(redis.record, row)}</td>
                <td class={row[0] === 'Payment' ? 'mono' : ''}>{row[0] === 'Status' && !archive.record ? STATES[archive.state] : value(archive.record, row)}</td>
                <td class={row[0] === 'Payment' ? 'mono' : ''}>{providerValues[row[0]] ?? '–'}</td>
              </tr>
            ))}
            <tr>
              <th class="t3">Outcome</th>
              <td>–</td>
              <td>{archive.outcome ? (OUTCOMES[archive.outcome] ?? archive.outcome) : '–'}</td>
              <td>{provider.refund ? `refund ${provider.refund.state}` : provider.refunded_amount ? 'refunded' : provider.refund_pending_amount ? 'refund pending' : '–'}</td>
            </tr>
          </tbody>
        </table>
      </div>
      {provider.refund?.reason && <p class="small foot">{provider.refund.reason}</p>}
      {provider.detail && <p class="t3 small foot">{provider.detail}</p>}
    </section>
  );
}
