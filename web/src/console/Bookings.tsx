import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import type { Booking } from '../api/types';
import { formatMoney, formatNumber, formatUtc, formatUtcTime, shortId } from '../base/format';
import { Button } from '../base/ui';
import { messageOf, type Message } from '../base/words';
import { shortSeats } from '../base/seats';
import { admin } from './admin';
import { Bar, BookingBadge, Note } from './parts';
import { go, pathOf, route } from './router';
import { events } from './state';

/** A buyer's bookings, from the archive. */
export function Bookings(): JSX.Element {
  const list = useSignal<Booking[] | null>(null);
  const cursor = useSignal<string | null>(null);
  const total = useSignal(0);
  const asOf = useSignal<string | null>(null);
  const busy = useSignal(false);
  const failure = useSignal<Message | null>(null);
  void route.value;
  const buyer = new URLSearchParams(location.search).get('buyer') ?? '';
  const input = useSignal(buyer);
  const load = async (next?: string) => {
    if (!buyer) return;
    busy.value = true;
    try {
      const { body } = await admin.bookingsOf(buyer, next);
      list.value = next ? [...(list.value ?? []), ...body.bookings] : body.bookings;
      cursor.value = body.next_cursor;
      total.value = body.total;
      asOf.value = body.as_of;
      failure.value = null;
    } catch (error) {
      failure.value = messageOf(error);
    }
    busy.value = false;
  };
  useEffect(() => {
    list.value = null;
    input.value = buyer;
    void load();
  }, [buyer]);
  const find = (event: Event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (/^[0-9a-f]{8}-[0-9a-f-]{27}$/i.test(text)) go(pathOf('bookings', text.toLowerCase()));
    else if (text) go(`${pathOf('bookings')}?buyer=${encodeURIComponent(text)}`);
  };
  return (
    <>
      <Bar><h1>Bookings</h1>{buyer && <span class="t3">of {buyer}</span>}</Bar>
      <main class="body">
        <form class="card find" onSubmit={find}>
          <label class="field grow">
            <span>Booking or buyer</span>
            <input class="input" value={input.value} placeholder="ann, or 01a0fc0f-119e-…" onInput={(event) => (input.value = event.currentTarget.value)} />
          </label>
          <Button kind="primary" type="submit">Find</Button>
          <p class="t3 small">Bookings by seat, and all bookings of an event, need a route that the API does not have yet.</p>
        </form>
        {failure.value && <Note message={failure.value} />}
        {buyer && !list.value && !failure.value && <div class="skeleton tall" aria-busy="true" />}
        {list.value?.length === 0 && <p class="card empty">No bookings of {buyer}.</p>}
        {list.value && list.value.length > 0 && (
          <section class="card table-card" tabIndex={0} aria-label="Bookings">
            <table>
              <thead>
                <tr><th>Held at (UTC)</th><th>Status</th><th>Event</th><th>Seats</th><th class="num">Amount</th><th>Booking</th></tr>
              </thead>
              <tbody>
                {list.value.map((booking) => (
                  <tr key={booking.id}>
                    <td class="t2"><span class="mono">{formatUtcTime(booking.created_at, false)}</span> <span class="t3 wide-only">{formatUtc(booking.created_at).split(',')[0]}</span></td>
                    <td><BookingBadge status={booking.status} /></td>
                    <td class="cut">{events.value?.find((event) => event.id === booking.event_id)?.name ?? `Event ${booking.event_id}`}</td>
                    <td class="cut">{shortSeats(booking)}</td>
                    <td class="num"><b>{formatMoney(booking.total_amount, booking.currency)}</b></td>
                    <td><a data-row href={pathOf('bookings', booking.id)} class="mono">{shortId(booking.id)}</a></td>
                  </tr>
                ))}
              </tbody>
            </table>
            <div class="row table-foot t3 small">
              <span class="grow">{formatNumber(list.value.length)} of {formatNumber(total.value)}, from the archive{asOf.value ? ` as of ${formatUtcTime(asOf.value, false)} UTC` : ''}</span>
              {cursor.value && <Button kind="small" busy={busy.value} onClick={() => void load(cursor.value!)}>More</Button>}
            </div>
          </section>
        )}
      </main>
    </>
  );
}
