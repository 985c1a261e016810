import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import type { Booking as Body, EventBody } from '../api/types';
import { serverNow } from '../base/clock';
import { formatAge, formatMoney, formatUtcDay, formatUtcTime, plural, shortId } from '../base/format';
import { Icon } from '../base/icons';
import { Button, Confirm, CopyId } from '../base/ui';
import { messageOf, type Message } from '../base/words';
import { longSeats, shortSeats } from '../base/seats';
import { admin } from './admin';
import { Bar, BookingBadge, Note } from './parts';
import { SeatsCard } from './SeatsCard';
import { Timeline, stepsOf } from './Timeline';

const REFRESH_MS = 2000;

/** One booking: its amount and state, its course in time, where it is kept, its seats. */
export function Booking({ id }: { id: string }): JSX.Element {
  const booking = useSignal<Body | null>(null);
  const event = useSignal<EventBody | null>(null);
  const failure = useSignal<Message | null>(null);
  const load = async () => {
    try {
      const { body } = await admin.booking(id);
      if (JSON.stringify({ ...body, time_remaining_seconds: 0 }) !== JSON.stringify({ ...booking.value, time_remaining_seconds: 0 })) booking.value = body;
      event.value ??= (await admin.event(body.event_id)).body;
      failure.value = null;
    } catch (error) {
      failure.value = messageOf(error);
    }
  };
  useEffect(() => {
    void load();
    // Until it has come to an end, it may change.
    const timer = setInterval(() => !document.hidden && (booking.value?.status === 'HOLD' || booking.value?.status === 'CONFIRMING') && void load(), REFRESH_MS);
    return () => clearInterval(timer);
  }, [id]);
  return (
    <>
      <Bar>
        <a href="/console/bookings">Bookings</a>
        <span class="t3"><Icon name="right" size={12} /></span>
        <h1 class="mono">{shortId(id)}</h1>
      </Bar>
      <main class="body booking">
        {failure.value && <Note message={failure.value} />}
        {!booking.value && !failure.value && <div class="skeleton tall" aria-busy="true" />}
        {booking.value && (
          <>
            <Head booking={booking.value} event={event.value} onChange={(next) => (booking.value = next)} />
            <div class="columns narrow-right">
              <Course booking={booking.value} />
              <div class="stack">
                <Records booking={booking.value} />
                <SeatsCard booking={booking.value} event={event.value} />
              </div>
            </div>
          </>
        )}
      </main>
    </>
  );
}

function Head({ booking, event, onChange }: { booking: Body; event: EventBody | null; onChange: (booking: Body) => void }): JSX.Element {
  const ended = booking.confirmed_at ?? booking.cancelled_at ?? booking.expired_at;
  const heldMs = (ended ? Date.parse(ended) : serverNow()) - Date.parse(booking.created_at);
  return (
    <section class="booking-head">
      <div class="row">
        <b class="big">{formatMoney(booking.total_amount, booking.currency)}</b>
        <BookingBadge status={booking.status} />
        <span class="grow" />
        <CancelButton booking={booking} onChange={onChange} />
      </div>
      <p class="t2 where">{longSeats(booking)} for {event?.name ?? `event ${booking.event_id}`}</p>
      <dl class="strip">
        <div><dt>Buyer</dt><dd><a href={`/console/bookings?buyer=${encodeURIComponent(booking.user_id)}`}>{booking.user_id}</a></dd></div>
        <div><dt>Held for</dt><dd>{formatAge(heldMs)}</dd></div>
        <div><dt>Paid with</dt><dd class="mono">{booking.payment_id ? shortId(booking.payment_id) : '–'}</dd></div>
        <div><dt>Kept</dt><dd>{{ accepted: 'Redis', replicated: 'Redis and replicas', archived: 'Archived' }[booking.durability]}, version {booking.version}</dd></div>
        <div class="last"><dt>Booking</dt><dd class="row"><span class="mono">{booking.id}</span><CopyId id={booking.id} label="Copy the booking" /></dd></div>
      </dl>
    </section>
  );
}

function CancelButton({ booking, onChange }: { booking: Body; onChange: (booking: Body) => void }): JSX.Element | null {
  const asks = useSignal(false);
  const busy = useSignal(false);
  const failure = useSignal<Message | null>(null);
  const isSold = booking.status === 'CONFIRMED';
  if (!isSold && booking.status !== 'HOLD') return null;
  const money = formatMoney(booking.total_amount, booking.currency);
  const act = async () => {
    busy.value = true;
    failure.value = null;
    try {
      onChange((await admin.cancelBooking(booking.id)).body);
      asks.value = false;
    } catch (error) {
      failure.value = messageOf(error);
    }
    busy.value = false;
  };
  return (
    <>
      <Button kind="danger" icon="undo" onClick={() => (asks.value = true)}>{isSold ? 'Cancel and refund…' : 'Release the hold…'}</Button>
      {asks.value && (
        <Confirm
          danger
          title={isSold ? `Cancel and refund ${money}?` : `Release ${plural(booking.seats.length, 'seat')}?`}
          effect={`${shortSeats(booking)} go back on sale. The buyer is ${booking.user_id}.`}
          verb={isSold ? `Refund ${money}` : 'Release seats'}
          keep="Keep booking"
          busy={busy.value}
          error={failure.value && <Note message={failure.value} />}
          onConfirm={() => void act()}
          onClose={() => (asks.value = false)}
        />
      )}
    </>
  );
}

function Course({ booking }: { booking: Body }): JSX.Element {
  const steps = stepsOf(booking);
  return (
    <section class="card course">
      <div class="row head">
        <h2>Timeline</h2>
        <span class="t3">{formatUtcDay(booking.created_at)}, times in UTC</span>
      </div>
      <Timeline booking={booking} />
      <ol class="steps-list">
        {steps.map((step, index) => (
          <li class={step.tone}>
            <time class="mono">{formatUtcTime(step.at)}</time>
            <span class="mono t3 num delta">{index ? `+${formatAge(Date.parse(step.at) - Date.parse(steps[index - 1]!.at))}` : ''}</span>
            <i class="node" />
            <b>{step.title}</b>
            <span class="t2 grow cut">{step.text}</span>
          </li>
        ))}
      </ol>
      <p class="t3 small foot">Single payment attempts, added time and entries of the ledger need the booking’s admin route: –</p>
    </section>
  );
}

/** Redis and the archive side by side; only one of both can be asked for today. */
function Records({ booking }: { booking: Body }): JSX.Element {
  const rows: [string, string][] = [
    ['Status', booking.status[0] + booking.status.slice(1).toLowerCase()],
    ['Version', String(booking.version)],
    ['Amount', formatMoney(booking.total_amount, booking.currency)],
    ['Payment', booking.payment_id ? shortId(booking.payment_id) : '–'],
  ];
  return (
    <section class="card records">
      <div class="row head"><h2 class="grow">Records</h2><span class="badge">{booking.durability}</span></div>
      <table>
        <thead><tr><td /><th>As answered</th><th>Archive</th></tr></thead>
        <tbody>
          {rows.map(([name, value]) => (
            <tr>
              <th class="t3">{name}</th>
              <td class={name === 'Payment' ? 'mono' : ''}>{value}</td>
              <td>–</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
