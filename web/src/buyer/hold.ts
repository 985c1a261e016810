import { buyer, type Sent } from '../api/client';
import { Problem } from '../api/http';
import { newKey } from '../api/identity';
import type { Booking, HoldRequest } from '../api/types';
import { formatDuration } from '../base/format';
import { isFinal, isUnknown, retryMs } from '../base/retry';
import { tab } from '../base/storage';
import { messageOf } from '../base/words';
import type { Sale } from './sale';

/** A request for seats whose outcome is not known: kept over a reload, and sent again as it was. */
type Pending = Sent & { body: HoldRequest };
const keptKey = (sale: Sale) => `pending.${sale.id}`;

/** Holds seats, unless some are held already or none can be. */
export async function hold(sale: Sale, body = sale.request.value): Promise<void> {
  if (!body || sale.busy.value || sale.booking.value || sale.event.value?.status !== 'ON_SALE') return;
  await send(sale, { body, key: newKey(), admission: sale.room.token }, false);
}

/** Goes on with a request that had no answer before a reload. */
export async function resumeHold(sale: Sale): Promise<void> {
  const pending = tab.getJson<Pending>(keptKey(sale));
  if (pending) await send(sale, pending, true);
}

async function send(sale: Sale, pending: Pending, mayBeHeld: boolean): Promise<void> {
  sale.busy.value = 'hold';
  sale.notice.value = null;
  tab.setJson(keptKey(sale), pending);
  try {
    const booking = await sendUntilKnown(sale, pending, mayBeHeld);
    sale.notice.value = null;
    sale.adopt(booking);
    if (booking.status === 'HOLD') sale.alert.value = `Held for you, ${formatDuration(booking.time_remaining_seconds)}.`;
  } catch (error) {
    refused(sale, error, pending.body);
  } finally {
    tab.set(keptKey(sale), null);
    sale.busy.value = '';
  }
}

/** Sends a request until it is known what came of it: the key makes the repetition safe. */
async function sendUntilKnown(sale: Sale, { body, ...sent }: Pending, mayBeHeld: boolean): Promise<Booking> {
  for (let tries = 0; ; tries++) {
    try {
      return (await buyer.hold(body, sent)).body;
    } catch (error) {
      mayBeHeld ||= isUnknown(error);
      if (!mayBeHeld || isFinal(error)) throw error;
      sale.notice.value = { tone: 'warn', text: 'Checking whether your seats are held.' };
      await sale.pause(retryMs(tries, error));
    }
  }
}

function refused(sale: Sale, error: unknown, body: HoldRequest): void {
  if (!(error instanceof Problem)) {
    sale.notice.value = messageOf(error);
    return;
  }
  const { code } = error;
  if (code === 'seats_unavailable') return conflicted(sale, error, body);
  if (code === 'waiting_room_required') return void sale.room.join();
  if (code === 'waiting_room_token_invalid') {
    void sale.room.poll();
    sale.notice.value = messageOf(error);
  } else if (code === 'user_limit') {
    sale.notice.value = { ...messageOf(error), text: `At most ${sale.event.value?.max_seats_per_user ?? 10} seats for one buyer.` };
  } else sale.notice.value = messageOf(error, 'Nothing was charged.');
  if (code.startsWith('event_') || code === 'not_on_sale' || code === 'sold_out') sale.refreshEventSoon();
}

function conflicted(sale: Sale, error: Problem, body: HoldRequest): void {
  const wanted = body.seat_ids?.length ?? body.quantity ?? 1;
  const seats = error.body.seats ?? [];
  const taken = seats.filter((seat) => seat.status !== 'AVAILABLE').map((seat) => seat.id);
  const alternatives = (error.body.alternatives ?? []).slice(0, 2);
  for (const seat of seats) sale.house.set([seat.id], seat.status);
  sale.taken.value = new Set([...sale.taken.value, ...taken.filter((seat) => sale.chosen.value.includes(seat))]);
  sale.conflict.value = { taken, alternatives, wanted, isBest: !body.seat_ids };
  sale.alternative.value = alternatives.length ? 0 : -1;
  sale.markSeats();
}

/** Holds the seats that were offered instead. */
export async function take(sale: Sale, alternative: number): Promise<void> {
  const seats = sale.conflict.value?.alternatives[alternative];
  if (!seats || sale.busy.value) return;
  sale.setChosen(seats);
  sale.taken.value = new Set();
  sale.dropConflict();
  await hold(sale);
}
