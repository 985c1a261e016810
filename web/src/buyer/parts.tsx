import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { now } from '../base/clock';
import { formatDayTime, formatMoney, plural } from '../base/format';
import { Button, Confirm, More } from '../base/ui';
import { backOnSale, shortSeats } from '../base/seats';
import type { Message } from '../base/words';
import type { Booking, EventBody } from '../api/types';
import { cancel } from './pay';
import type { Sale } from './sale';

export function MessageNote({ message }: { message: Message }): JSX.Element {
  return (
    <div class={`note ${message.tone}`} role={message.tone === 'bad' ? 'alert' : 'status'}>
      {message.text}
      <More detail={message.detail} trace={message.trace} />
    </div>
  );
}

/** The newest message about what the buyer did. */
export function Notice({ sale }: { sale: Sale }): JSX.Element | null {
  const message = sale.notice.value;
  return message && <MessageNote message={message} />;
}

/** Sold bookings of this buyer, with what can be done about them. */
export function OwnBookings({ sale }: { sale: Sale }): JSX.Element | null {
  const own = sale.owned.value;
  if (!own.length) return null;
  return (
    <section class="chosen" aria-label="Your bookings">
      <h2 class="head">Your bookings</h2>
      {own.map((booking) => (
        <div class="row pick" key={booking.id}>
          <span class="badge ink">{plural(booking.seats.length, 'seat')}</span>
          <span class="grow cut">{shortSeats(booking)}</span>
          <span class="price">{formatMoney(booking.total_amount, booking.currency)}</span>
          <Button kind="plain small" onClick={() => void sale.refreshBooking(booking.id)}>Show</Button>
        </div>
      ))}
    </section>
  );
}

export function canCancel(event: EventBody): boolean {
  if (event.cancellation === 'not_allowed') return false;
  return !event.cancel_until || Date.parse(event.cancel_until) > now.value;
}

/** Asks, then cancels and refunds a sale. */
export function CancelSale({ sale, booking }: { sale: Sale; booking: Booking }): JSX.Element {
  const asks = useSignal(false);
  const money = formatMoney(booking.total_amount, booking.currency);
  const event = sale.event.value!;
  if (!canCancel(event)) return <p class="t3 small centre">Sold seats of this event are not taken back.</p>;
  return (
    <>
      <Button kind="plain wide" onClick={() => (asks.value = true)}>Cancel and refund…</Button>
      {event.cancel_until && <p class="t3 small centre">Until {formatDayTime(event.cancel_until)}</p>}
      {asks.value && (
        <Confirm
          danger
          title={`Cancel and refund ${money}?`}
          effect={`${backOnSale(shortSeats(booking), booking.seats.length)}.`}
          verb={`Refund ${money}`}
          keep="Keep booking"
          busy={sale.busy.value === 'cancel'}
          error={sale.notice.value && <MessageNote message={sale.notice.value} />}
          onClose={() => (asks.value = false)}
          onConfirm={async () => {
            if (await cancel(sale, booking)) asks.value = false;
          }}
        />
      )}
    </>
  );
}
