import { buyer } from '../api/client';
import { Problem } from '../api/http';
import { newKey } from '../api/identity';
import type { Booking } from '../api/types';
import { serverNow } from '../base/clock';
import { formatCountdown, formatMoney } from '../base/format';
import { isFinal, isUnknown, retryMs, sleep } from '../base/retry';
import { tab } from '../base/storage';
import { messageOf } from '../base/words';
import type { Sale } from './sale';

/** Methods of the simulated provider, in words. */
export const SIMULATED_CARDS = [
  { method: 'card_ok', label: 'A card that is accepted' },
  { method: 'card_declined', label: 'A card that is declined' },
  { method: 'card_timeout', label: 'A card whose answer comes late' },
  { method: 'card_error', label: 'A card that fails' },
] as const;

/** A payment whose outcome is not known: kept over a reload. */
interface Paying {
  method: string;
  key: string;
}
const keptKey = (booking: Booking) => `paying.${booking.id}`;

/** Pays; returns true once nothing more has to be asked of the buyer. */
export async function pay(sale: Sale, method: string): Promise<boolean> {
  const booking = sale.booking.value;
  if (!booking || sale.busy.value) return false;
  sale.busy.value = 'pay';
  sale.notice.value = null;
  // One key for one try with one card: a lost answer is asked for again, not paid again.
  const kept = tab.getJson<Paying>(keptKey(booking));
  const isRepeated = kept?.method === method;
  const key = isRepeated ? kept.key : newKey();
  tab.setJson(keptKey(booking), { method, key } satisfies Paying);
  try {
    const answer = await payUntilKnown(sale, booking, method, key, isRepeated);
    sale.notice.value = null;
    sale.adopt(answer);
    if (answer.status === 'CONFIRMING') void awaitSale(sale, answer.id);
    return true;
  } catch (error) {
    await refused(sale, booking, error);
    return false;
  } finally {
    tab.set(keptKey(booking), null);
    sale.busy.value = '';
  }
}

/** Sends the payment, under its key, until it is known what came of it. */
async function payUntilKnown(sale: Sale, booking: Booking, method: string, key: string, mayBePaid: boolean): Promise<Booking> {
  for (let tries = 0; ; tries++) {
    try {
      return (await buyer.pay(booking.id, method, booking.total_amount, key)).body;
    } catch (error) {
      mayBePaid ||= isUnknown(error);
      if (!mayBePaid || isFinal(error)) throw error;
      const isUnderWay = error instanceof Problem && error.code === 'in_flight';
      sale.notice.value = { tone: 'warn', text: isUnderWay ? 'We are confirming your payment. Do not pay again.' : 'We do not know yet whether this payment went through. Do not pay again.' };
      await sale.pause(retryMs(tries, error));
    }
    const known = await askUntilAnswered(sale, booking.id);
    if (known.status !== 'HOLD' && known.status !== 'CONFIRMING') return known;
  }
}

async function askUntilAnswered(sale: Sale, id: string): Promise<Booking> {
  for (let tries = 0; ; tries++) {
    try {
      return (await buyer.booking(id)).body;
    } catch (error) {
      if (isFinal(error)) throw error;
      await sale.pause(retryMs(tries, error));
    }
  }
}

async function refused(sale: Sale, booking: Booking, error: unknown): Promise<void> {
  const money = formatMoney(booking.total_amount, booking.currency);
  const left = formatCountdown(Date.parse(booking.hold_expires_at) - serverNow());
  if (error instanceof Problem && error.code === 'payment_declined') {
    sale.notice.value = { tone: 'bad', text: `The payment was declined. Your seats are held for ${left}. Try another card.`, detail: error.body.detail, trace: error.body.trace_id };
  } else if (error instanceof Problem && error.code === 'sale_voided') {
    sale.notice.value = { tone: 'bad', text: `These seats went to someone else. Your ${money} is being refunded.`, detail: error.body.detail, trace: error.body.trace_id };
  } else sale.notice.value = messageOf(error, 'Nothing was charged.');
  await sale.refreshBooking(booking.id);
}

/** After a 202: looks until the sale is decided. */
async function awaitSale(sale: Sale, id: string): Promise<void> {
  for (let delay = 1; sale.booking.value?.id === id && sale.booking.value.status === 'CONFIRMING'; delay = Math.min(5, delay * 1.5)) {
    await sleep(delay * 1000);
    await sale.refreshBooking(id);
  }
}

/** After a 202: looks until the archive says that the sale is cancelled. */
async function awaitCancellation(sale: Sale, id: string): Promise<void> {
  sale.notice.value = { tone: 'action', text: 'The cancellation is being recorded.' };
  for (let delay = 1; sale.booking.value?.id === id && sale.booking.value.status === 'CONFIRMED'; delay = Math.min(5, delay * 1.5)) {
    await sleep(delay * 1000);
    await sale.refreshBooking(id);
  }
  sale.notice.value = null;
}

/** Goes on looking at a payment that was under way before a reload. */
export function resumePayment(sale: Sale): void {
  const booking = sale.booking.value;
  if (booking?.status === 'CONFIRMING') void awaitSale(sale, booking.id);
  const kept = booking?.status === 'HOLD' && tab.getJson<Paying>(keptKey(booking));
  if (kept) void pay(sale, kept.method);
}

export async function extend(sale: Sale): Promise<void> {
  const booking = sale.booking.value;
  if (!booking || sale.busy.value) return;
  sale.busy.value = 'extend';
  sale.notice.value = null;
  try {
    sale.adopt((await buyer.extend(booking.id)).body);
    sale.spoken.value = 'Time was added.';
  } catch (error) {
    sale.notice.value = messageOf(error);
    await sale.refreshBooking(booking.id);
  } finally {
    sale.busy.value = '';
  }
}

/** Gives up held seats, or cancels and refunds a sale. Returns whether it is done. */
export async function cancel(sale: Sale, booking: Booking): Promise<boolean> {
  if (sale.busy.value) return false;
  sale.busy.value = 'cancel';
  sale.notice.value = null;
  const wasSold = booking.status === 'CONFIRMED';
  try {
    const { body, status } = await buyer.cancel(booking.id);
    sale.owned.value = sale.owned.value.filter((one) => one.id !== booking.id);
    if (wasSold) {
      sale.adopt(body);
      if (status === 202) void awaitCancellation(sale, booking.id);
    } else sale.chooseAgain();
    return true;
  } catch (error) {
    sale.notice.value = messageOf(error);
    return false;
  } finally {
    sale.busy.value = '';
  }
}
