import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { serverNow } from '../base/clock';
import { formatAge, formatMoney, formatUtc, formatUtcDay, plural, shortId } from '../base/format';
import { backOnSale } from '../base/seats';
import { Icon } from '../base/icons';
import { Button, Confirm, CopyId, Segmented } from '../base/ui';
import { admin } from './admin';
import { Lanes, Ledger, Steps } from './Timeline';
import { useAct, useLoad } from './load';
import { Bar, BookingBadge, Note, Waits } from './parts';
import { Records } from './Records';
import { pathOf } from './router';
import { seatNames, seatPlaces } from './seats';
import { SeatsCard } from './SeatsCard';
import type { BookingDetail } from './types';

const REFRESH_MS = 3000;

/** One booking: its amount and state, its course in time, where it is kept, its seats. */
export function Booking({ id }: { id: string }): JSX.Element {
  const loaded = useLoad(() => admin.detail(id), [id], REFRESH_MS, isOpen);
  const booking = loaded.data.value;
  return (
    <>
      <Bar>
        <a href={pathOf('bookings')}>Bookings</a>
        <span class="t3"><Icon name="right" size={12} /></span>
        <h1 class="mono">{shortId(id)}</h1>
      </Bar>
      <main class="body booking">
        <Waits of={loaded} />
        {booking && (
          <>
            <Head booking={booking} onChange={loaded.reload} />
            <div class="columns narrow-right">
              <Course booking={booking} />
              <div class="stack">
                <Records booking={booking} />
                <SeatsCard booking={booking} />
              </div>
            </div>
          </>
        )}
      </main>
    </>
  );
}

/** Each look is written to the audit log: only a booking that may change by itself is read again. */
const isOpen = (booking: BookingDetail) => ['HOLD', 'CONFIRMING', 'COMMITTED'].includes(booking.status) || !booking.is_agreed;

/** Of both stores the one that knows it, the faster one first. */
const recordOf = (booking: BookingDetail) => booking.redis.record ?? booking.archive.record;

function Head({ booking, onChange }: { booking: BookingDetail; onChange: () => Promise<void> }): JSX.Element {
  const record = recordOf(booking);
  const ended = record?.confirmed_at ?? record?.paid_at ?? record?.ended_at;
  const heldMs = record ? (ended ? Date.parse(ended) : serverNow()) - Date.parse(record.created_at) : null;
  const count = (step: string) => booking.timeline.filter((one) => one.step === step).length;
  const payments = [count('declined') && `${count('declined')} declined`, count('sold') && `${count('sold')} paid`].filter(Boolean).join(', ');
  const kept = booking.archive.state === 'found' ? 'Archived' : 'Redis';
  return (
    <section class="booking-head">
      <div class="row">
        <b class="big">{formatMoney(booking.total_amount, booking.currency)}</b>
        <BookingBadge status={booking.status} />
        <span class="grow" />
        <CancelButton booking={booking} onChange={onChange} />
      </div>
      <p class="t2 where">{seatPlaces(booking.seats)} for <a href={pathOf('live', booking.event_id)}>{booking.event_name ?? `event ${booking.event_id}`}</a></p>
      <dl class="strip">
        <div><dt>Buyer</dt><dd><a href={`${pathOf('bookings')}?q=${encodeURIComponent(booking.user_id)}`}>{booking.user_id}</a></dd></div>
        <div><dt>Held for</dt><dd>{formatAge(heldMs)}</dd></div>
        <div><dt>Payments</dt><dd>{payments || '–'}</dd></div>
        <div><dt>Paid with</dt><dd class="mono">{record?.payment_id ? shortId(record.payment_id) : '–'}</dd></div>
        <div><dt>Kept</dt><dd>{kept}, version {record?.version ?? '–'}</dd></div>
        <div class="last"><dt>Booking</dt><dd class="row"><span class="mono">{booking.booking_id}</span><CopyId id={booking.booking_id} label="Copy the booking" /></dd></div>
      </dl>
    </section>
  );
}

function CancelButton({ booking, onChange }: { booking: BookingDetail; onChange: () => Promise<void> }): JSX.Element | null {
  const asks = useSignal(false);
  const { busy, failure, act } = useAct();
  const isSold = booking.status === 'CONFIRMED' || booking.status === 'COMMITTED';
  if (!isSold && booking.status !== 'HOLD') return null;
  const money = formatMoney(booking.total_amount, booking.currency);
  const cancel = () =>
    act(async () => {
      await admin.cancelBooking(booking.booking_id);
      await onChange();
      asks.value = false;
    });
  return (
    <>
      <Button kind="danger" icon="undo" onClick={() => (asks.value = true)}>{isSold ? 'Cancel and refund…' : 'Release the hold…'}</Button>
      {asks.value && (
        <Confirm
          danger
          title={isSold ? `Cancel and refund ${money}?` : `Release ${plural(booking.seats.length, 'seat')}?`}
          effect={`${backOnSale(seatNames(booking.seats), booking.seats.length)}. The buyer is ${booking.user_id}.`}
          verb={isSold ? `Refund ${money}` : 'Release seats'}
          keep="Keep booking"
          busy={busy}
          error={failure && <Note message={failure} />}
          onConfirm={() => void cancel()}
          onClose={() => (asks.value = false)}
        />
      )}
    </>
  );
}

function Course({ booking }: { booking: BookingDetail }): JSX.Element {
  const view = useSignal<'steps' | 'log'>('steps');
  const record = recordOf(booking);
  const trace = record?.trace?.split('-')[1] ?? record?.trace;
  const began = booking.timeline[0]?.at ?? record?.created_at;
  return (
    <section class="card course">
      <div class="row head">
        <h2>Timeline</h2>
        <span class="t3 grow cut">{began ? `${formatUtcDay(began)}, times in UTC` : ''}</span>
        <Segmented label="What is shown" value={view.value} options={[{ value: 'steps', label: 'Steps' }, { value: 'log', label: 'Log' }]} onChange={(value) => (view.value = value)} />
      </div>
      <Lanes booking={booking} />
      {view.value === 'steps' ? <Steps booking={booking} /> : <Ledger booking={booking} />}
      <div class="row foot t3">
        <span class="grow">{plural(booking.ledger.length, 'entry', 'entries')} of the ledger{booking.is_ledger_cut ? ', older ones are left out' : ''}{booking.archive.cancel_unsettled_since ? `. The refund waits since ${formatUtc(booking.archive.cancel_unsettled_since)} UTC` : ''}</span>
        {trace && <span class="row">Trace <span class="mono trace">{trace}</span><CopyId id={trace} label="Copy the trace" /></span>}
      </div>
    </section>
  );
}
