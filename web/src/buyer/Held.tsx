import { useSignal, useSignalEffect } from '@preact/signals';
import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import type { Booking } from '../api/types';
import { now, serverNow } from '../base/clock';
import { formatCountdown, formatMoney, formatWhenShort, plural, shortId } from '../base/format';
import { Icon } from '../base/icons';
import { retryMs, sleep } from '../base/retry';
import { backOnSale, rowsOf, shortSeats } from '../base/seats';
import { Button, Confirm, CopyId, Dialog } from '../base/ui';
import { cancel, extend, pay, SIMULATED_CARDS } from './pay';
import { CancelSale, MessageNote, Notice } from './parts';
import type { Sale } from './sale';

const AMBER_MS = 60_000;
const SPOKEN_SECONDS = [120, 60, 30, 10];

/** Says what has become of the seats. It takes the focus when it appears, since what had it is gone. */
function Title({ kind = 'state-title', children }: { kind?: string; children: ComponentChildren }): JSX.Element {
  const ref = useRef<HTMLHeadingElement>(null);
  useEffect(() => ref.current?.focus({ preventScroll: true }), []);
  return <h2 ref={ref} class={kind} tabIndex={-1}>{children}</h2>;
}

export function Seats({ booking }: { booking: Booking }): JSX.Element {
  return (
    <ul class="held-seats" aria-label="Seats">
      {rowsOf(booking).map((row) => (
        <li class="row">
          <span class="grow t2 cut">{row.place}</span>
          <span class="chips">
            {row.numbers.map((number) => (
              <span class="badge seat">{number}</span>
            ))}
          </span>
        </li>
      ))}
    </ul>
  );
}

/** The panel of a hold: countdown, seats, sum, pay. */
export function Held({ sale, booking }: { sale: Sale; booking: Booking }): JSX.Element {
  const pays = useSignal(false);
  const givesUp = useSignal(false);
  const event = sale.event.value!;
  const ends = Date.parse(booking.hold_expires_at);
  const left = ends - now.value;
  const longest = useRef(event.hold_ttl_seconds * 1000);
  const money = formatMoney(booking.total_amount, booking.currency);
  const count = plural(booking.seats.length, 'seat');
  useLapse(sale, booking);
  return (
    <>
      <div class="hold-line" aria-hidden="true">
        <i class={left < AMBER_MS ? 'late' : ''} style={{ transform: `scaleX(${Math.max(0, Math.min(1, left / longest.current))})` }} />
      </div>
      <div class="panel-scroll held">
        <div class="row top">
          <div class="grow">
            <Title kind="t2 quiet">Held for you</Title>
            <p class={`countdown ${left < AMBER_MS ? 'late' : ''}`} role="timer" aria-label={`Held for ${formatCountdown(left)}`}>{formatCountdown(left)}</p>
          </div>
          <div class="num">
            <p class="t2">{count}</p>
            <p class="amount">{money}</p>
          </div>
        </div>
        <Seats booking={booking} />
        {booking.seats_left_alone?.length ? <div class="note warn">This choice leaves a single seat alone.</div> : null}
        {!pays.value && <Notice sale={sale} />}
        <div class="hold-actions">
          <Button kind="primary wide" id="pay" disabled={left <= 0} onClick={() => (pays.value = true)}>Pay {money}</Button>
          <div class="row pair">
            <Button kind="plain" icon="clock" busy={sale.busy.value === 'extend'} disabled={left <= 0} onClick={() => void extend(sale)}>Add time</Button>
            <Button kind="plain" onClick={() => (givesUp.value = true)}>Give up seats</Button>
          </div>
        </div>
      </div>
      {pays.value && <PayDialog sale={sale} booking={booking} onClose={() => (pays.value = false)} />}
      {givesUp.value && (
        <Confirm
          danger
          title={`Give up ${count}?`}
          effect={`${backOnSale(shortSeats(booking), booking.seats.length)} at once. Nothing was charged.`}
          verb="Give up seats"
          keep="Keep seats"
          busy={sale.busy.value === 'cancel'}
          error={sale.notice.value && <MessageNote message={sale.notice.value} />}
          onClose={() => (givesUp.value = false)}
          onConfirm={() => void cancel(sale, booking)}
        />
      )}
    </>
  );
}

/** Speaks the countdown, and asks the server once the time is over. */
function useLapse(sale: Sale, booking: Booking): void {
  const state = useRef({ spoken: Infinity, asks: false });
  useSignalEffect(() => {
    const left = Date.parse(booking.hold_expires_at) - now.value;
    const seconds = Math.ceil(left / 1000);
    const mark = SPOKEN_SECONDS.find((one) => seconds <= one && seconds > one - 2);
    if (mark && state.current.spoken !== mark) {
      state.current.spoken = mark;
      sale.spoken.value = `Your seats are held for ${formatCountdown(mark * 1000)}.`;
    }
    if (left > 0 || state.current.asks) return;
    state.current.asks = true;
    void askUntilEnded(sale, booking.id).finally(() => (state.current.asks = false));
  });
}

/** One question after the other, until the server says that the hold has ended, or has more time. */
async function askUntilEnded(sale: Sale, id: string): Promise<void> {
  const isOver = (held: Booking | null) => held?.id === id && held.status === 'HOLD' && Date.parse(held.hold_expires_at) <= serverNow();
  for (let tries = 0; isOver(sale.booking.value); tries++) {
    await sleep(retryMs(tries));
    if (isOver(sale.booking.value)) await sale.refreshBooking(id);
  }
}

function PayDialog({ sale, booking, onClose }: { sale: Sale; booking: Booking; onClose: () => void }): JSX.Element {
  const method = useSignal<string>(SIMULATED_CARDS[0].method);
  const money = formatMoney(booking.total_amount, booking.currency);
  const left = Date.parse(booking.hold_expires_at) - now.value;
  const submit = async (event: Event) => {
    event.preventDefault();
    await pay(sale, method.value);
  };
  return (
    <Dialog title={`Pay ${money}`} onClose={onClose}>
      <form onSubmit={submit}>
        <p class="t2">{shortSeats(booking)} · held for {formatCountdown(left)}</p>
        <fieldset class="cards">
          <legend class="sr">Card</legend>
          {SIMULATED_CARDS.map((card) => (
            <label class={method.value === card.method ? 'is-on' : ''}>
              <input type="radio" name="card" value={card.method} checked={method.value === card.method} onChange={() => (method.value = card.method)} />
              <span class="grow">{card.label}</span>
              <span class="mono t3">{card.method}</span>
            </label>
          ))}
        </fieldset>
        <p class="t3 small">Simulated payment: no money moves.</p>
        <div class="notice-slot"><Notice sale={sale} /></div>
        <div class="actions">
          <Button onClick={onClose}>Back</Button>
          <Button kind="primary" type="submit" busy={sale.busy.value === 'pay'} disabled={left <= 0}>Pay {money}</Button>
        </div>
      </form>
    </Dialog>
  );
}

export function Confirming({ sale, booking }: { sale: Sale; booking: Booking }): JSX.Element {
  return (
    <div class="panel-scroll held">
      <p class="t2">Paying {formatMoney(booking.total_amount, booking.currency)}</p>
      <Title>We are confirming your payment.</Title>
      <p class="t2">Do not pay again. This page goes on by itself.</p>
      <Seats booking={booking} />
      <Notice sale={sale} />
    </div>
  );
}

/** A sale: seats, amount, payment, time. */
export function Sold({ sale, booking }: { sale: Sale; booking: Booking }): JSX.Element {
  const paidAt = booking.receipt?.paid_at ?? booking.confirmed_at;
  const payment = booking.receipt?.payment_id ?? booking.payment_id;
  return (
    <div class="panel-scroll held" id="receipt">
      <div class="row">
        <span class="done"><Icon name="check" /></span>
        <div class="grow">
          <Title>These seats are yours.</Title>
          <p class="t2">{sale.event.value?.name}</p>
        </div>
      </div>
      <Seats booking={booking} />
      <dl class="facts">
        <dt>Amount</dt>
        <dd><b>{formatMoney(booking.total_amount, booking.currency)}</b></dd>
        <dt>Paid</dt>
        <dd>{paidAt ? formatWhenShort(paidAt) : '–'}</dd>
        <dt>Payment</dt>
        <dd class="row">{payment ? <><span class="mono">{shortId(payment)}</span><CopyId id={payment} label="Copy the payment" /></> : '–'}</dd>
        <dt>Booking</dt>
        <dd class="row"><span class="mono">{shortId(booking.id)}</span><CopyId id={booking.id} label="Copy the booking" /></dd>
      </dl>
      <Notice sale={sale} />
      <div class="hold-actions">
        <Button kind="wide" onClick={() => sale.chooseAgain()}>Choose more seats</Button>
        <CancelSale sale={sale} booking={booking} />
      </div>
    </div>
  );
}

const ENDED: Record<string, [string, (money: string) => string]> = {
  EXPIRED: ['Your hold has ended.', () => 'Nothing was charged.'],
  CANCELLED: ['This booking is cancelled.', (money) => `Your ${money} goes back to you.`],
  VOIDED: ['These seats went to someone else.', (money) => `Your ${money} is being refunded.`],
};

export function Ended({ sale, booking }: { sale: Sale; booking: Booking }): JSX.Element {
  const [title, text] = ENDED[booking.status] ?? ['This booking has ended.', () => ''];
  const wasPaid = booking.status !== 'CANCELLED' || booking.confirmed_at !== null;
  return (
    <div class="panel-scroll held">
      <Title>{title}</Title>
      <p class="t2">{wasPaid ? text(formatMoney(booking.total_amount, booking.currency)) : 'Nothing was charged.'}</p>
      <Seats booking={booking} />
      <Notice sale={sale} />
      <div class="hold-actions">
        <Button kind="primary wide" onClick={() => sale.chooseAgain()}>Choose again</Button>
      </div>
    </div>
  );
}
