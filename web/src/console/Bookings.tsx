import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { formatMoney, formatNumber, formatUtc, formatUtcTime, plural, shortId } from '../base/format';
import { Button } from '../base/ui';
import { messageOf, type Message } from '../base/words';
import { admin } from './admin';
import { useLoad } from './load';
import { Bar, BookingBadge, BOOKING_WORDS, EventPicker, find, Note, Waits } from './parts';
import { seatNames } from './seats';
import { go, pathOf, route } from './router';
import { currentId, events } from './state';
import type { AdminBooking, ArchivedStatus, SearchResult, SeatHit } from './types';

const STATUSES: ArchivedStatus[] = ['HOLD', 'CONFIRMING', 'COMMITTED', 'CONFIRMED', 'CANCELLED', 'EXPIRED', 'VOIDED'];

/** An event's bookings, or what a search finds. */
export function Bookings(): JSX.Element {
  void route.value;
  const q = new URLSearchParams(location.search).get('q') ?? '';
  return q ? <Found q={q} key={q} /> : <List />;
}

function FindForm({ q }: { q: string }): JSX.Element {
  const input = useSignal(q);
  const submit = (event: Event) => {
    event.preventDefault();
    if (input.value.trim()) find(input.value.trim());
  };
  return (
    <form class="card find" onSubmit={submit}>
      <label class="field grow">
        <span>Booking, buyer or seat</span>
        <input class="input" value={input.value} placeholder="ann, K-20, Stalls K-20, or 01a0fc0f-119e-…" onInput={(event) => (input.value = event.currentTarget.value)} />
      </label>
      <Button kind="primary" type="submit">Find</Button>
    </form>
  );
}

// -- The bookings of an event ----------------------------------------------------------------------

function List(): JSX.Element {
  const id = currentId.value;
  const status = useSignal<ArchivedStatus | ''>('');
  const list = useSignal<AdminBooking[] | null>(null);
  const cursor = useSignal<string | null>(null);
  const asOf = useSignal<string | null>(null);
  const busy = useSignal(false);
  const failure = useSignal<Message | null>(null);
  const asked = useRef(0);
  const load = async (next?: string) => {
    if (id === null) return;
    // Only what was asked for last is shown.
    const turn = ++asked.current;
    busy.value = true;
    try {
      const { body } = await admin.bookings(id, { status: status.value, cursor: next });
      if (turn !== asked.current) return;
      list.value = next ? [...(list.value ?? []), ...body.bookings] : body.bookings;
      cursor.value = body.next_cursor;
      asOf.value = body.as_of;
      failure.value = null;
    } catch (error) {
      if (turn === asked.current) failure.value = messageOf(error);
    } finally {
      if (turn === asked.current) busy.value = false;
    }
  };
  useEffect(() => {
    list.value = null;
    void load();
  }, [id, status.value]);
  return (
    <>
      <Bar>
        <h1>Bookings</h1>
        <EventPicker />
      </Bar>
      <main class="body">
        <FindForm q="" />
        <div class="row filters">
          <select class="input" aria-label="Status" value={status.value} onChange={(change) => (status.value = change.currentTarget.value as ArchivedStatus | '')}>
            <option value="">All states</option>
            {STATUSES.map((one) => <option value={one}>{BOOKING_WORDS[one][1]}</option>)}
          </select>
          <Button busy={busy.value} onClick={() => void load()}>Read again</Button>
          <span class="t3">{asOf.value ? `From the archive as of ${formatUtcTime(asOf.value, false)} UTC, newest first` : ''}</span>
        </div>
        {failure.value && <Note message={failure.value} />}
        {!list.value && !failure.value && <div class="skeleton tall" aria-busy="true" />}
        {list.value?.length === 0 && <p class="card empty">{status.value ? 'No bookings in this state.' : 'No bookings yet. They appear here as they happen.'}</p>}
        {list.value && list.value.length > 0 && (
          <Table
            bookings={list.value}
            foot={
              <div class="row table-foot t3 small">
                <span class="grow">{plural(list.value.length, 'booking')}{cursor.value ? ', there are more' : ''}</span>
                {cursor.value && <Button kind="small" busy={busy.value} onClick={() => void load(cursor.value!)}>More</Button>}
              </div>
            }
          />
        )}
      </main>
    </>
  );
}

function Table({ bookings, hasEvent, foot }: { bookings: AdminBooking[]; hasEvent?: boolean; foot?: JSX.Element }): JSX.Element {
  return (
    <section class="card table-card" tabIndex={0} aria-label="Bookings">
      <table>
        <thead>
          <tr><th>Held at (UTC)</th><th>Status</th><th>Buyer</th>{hasEvent && <th>Event</th>}<th>Seats</th><th class="num">Amount</th><th>Booking</th></tr>
        </thead>
        <tbody>
          {bookings.map((booking) => (
            <tr key={booking.booking_id}>
              <td class="t2"><span class="mono">{formatUtcTime(booking.created_at, false)}</span> <span class="t3 wide-only">{formatUtc(booking.created_at).split(',')[0]}</span></td>
              <td><BookingBadge status={booking.status} />{booking.outcome === 'refund' && <span class="badge">Refunded</span>}</td>
              <td class="cut"><a href={`${pathOf('bookings')}?q=${encodeURIComponent(booking.user_id)}`}>{booking.user_id}</a></td>
              {hasEvent && <td class="cut t2">{events.value?.find((event) => event.id === booking.event_id)?.name ?? `Event ${booking.event_id}`}</td>}
              <td class="cut">{seatNames(booking.seats)}</td>
              <td class="num"><b>{formatMoney(booking.total_amount, booking.currency)}</b></td>
              <td><a data-row href={pathOf('bookings', booking.booking_id)} class="mono">{shortId(booking.booking_id)}</a></td>
            </tr>
          ))}
        </tbody>
      </table>
      {foot}
    </section>
  );
}

// -- What a search finds ---------------------------------------------------------------------------

function Found({ q }: { q: string }): JSX.Element {
  const result = useLoad(() => admin.search(q, currentId.value ?? undefined), [q]);
  const hits = result.data.value?.hits ?? [];
  const bookings = hits.flatMap((hit) => (hit.type === 'booking' ? [hit.booking] : []));
  const users = hits.flatMap((hit) => (hit.type === 'user' ? [hit] : []));
  const seats = hits.flatMap((hit) => (hit.type === 'seat' ? [hit] : []));
  return (
    <>
      <Bar>
        <a href={pathOf('bookings')}>Bookings</a>
        <h1 class="cut">“{q}”</h1>
      </Bar>
      <main class="body">
        <FindForm q={q} />
        <Waits of={result} />
        {result.data.value && !hits.length && <p class="card empty">Nothing is called “{q}”.</p>}
        {seats.length > 0 && <Seats seats={seats} />}
        {users.map((user) => <p class="t2" key={user.user_id}>Buyer <b>{user.user_id}</b>, {plural(user.bookings, 'booking')}{bookings.length < user.bookings ? `, the newest ${formatNumber(bookings.length)} here` : ''}</p>)}
        {bookings.length > 0 && <Table bookings={bookings} hasEvent />}
      </main>
    </>
  );
}

const SEAT_WORDS: Record<NonNullable<SeatHit['state']>, [string, string]> = { AVAILABLE: ['action', 'Free'], HOLD: ['warn', 'Held'], BOOKED: ['ok', 'Sold'], BLOCKED: ['', 'Blocked'] };

function Seats({ seats }: { seats: Extract<SearchResult['hits'][number], { type: 'seat' }>[] }): JSX.Element {
  return (
    <section class="card table-card" tabIndex={0} aria-label="Seats">
      <table>
        <thead><tr><th>Seat</th><th>Section</th><th>Event</th><th>State</th><th>Booking</th></tr></thead>
        <tbody>
          {seats.map((seat) => {
            const [tone, word] = seat.state ? SEAT_WORDS[seat.state] : ['', '–'];
            return (
              <tr key={`${seat.event_id}:${seat.seat_id}`}>
                <td><b>{seat.label}</b></td>
                <td class="t2">{seat.section}{seat.row ? `, row ${seat.row}` : ''}</td>
                <td class="cut"><button type="button" class="link" onClick={() => go(pathOf('live', seat.event_id))}>{seat.event_name}</button></td>
                <td><span class={`badge ${tone}`}>{word}</span></td>
                <td>{seat.booking_id ? <a data-row class="mono" href={pathOf('bookings', seat.booking_id)}>{shortId(seat.booking_id)}</a> : '–'}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </section>
  );
}
