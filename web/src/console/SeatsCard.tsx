import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { pub } from '../api/client';
import { formatMoney } from '../base/format';
import { House } from '../live/house';
import { SmallHouse } from '../map/MiniMap';
import { makePlan } from '../map/plan';
import { Scene } from '../map/scene';
import { admin } from './admin';
import type { BookingDetail } from './types';

/** Where a booking's seats lie, what each costs, and whether the booking has them. */
export function SeatsCard({ booking }: { booking: BookingDetail }): JSX.Element {
  const scene = useSignal<Scene | null>(null);
  useEffect(() => {
    loadScene(booking).then(
      (loaded) => (scene.value = loaded),
      (error: unknown) => console.warn('No map', error),
    );
  }, [booking.booking_id]);
  const own = booking.seats.filter((seat) => seat.is_own_claim).length;
  const isSold = booking.status === 'CONFIRMED' || booking.status === 'COMMITTED';
  const claims = !isSold && own === 0 ? '' : own === booking.seats.length ? (own === 1 ? '1 claim, its own' : `${own} claims, all its own`) : `${own} of ${booking.seats.length} claims its own`;
  return (
    <section class="card seats-card">
      <div class="row head"><h2 class="grow">Seats</h2><span class={isSold && own < booking.seats.length ? 'badge bad' : 't3'}>{claims || booking.seats.length}</span></div>
      {scene.value && <div class="small-house"><SmallHouse scene={scene.value} width={296} height={200} label="Where the seats lie" /></div>}
      <ul>
        {booking.seats.map((seat) => (
          <li class="row">
            <span class="badge ink">{seat.label}</span>
            <span class="grow t2 cut">{seat.section}{seat.row ? `, row ${seat.row}` : ''}</span>
            <span>{formatMoney(seat.price, booking.currency)}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}

async function loadScene(booking: BookingDetail): Promise<Scene> {
  const [{ body: event }, { body: bytes }] = await Promise.all([admin.event(booking.event_id), pub.seatBytes(booking.event_id)]);
  const house = new House(event.sections ?? [], event.total_seats);
  house.take(bytes);
  const scene = new Scene(house, makePlan(house.sections, house.total, house.rowStart), event.currency);
  scene.yours = new Set(booking.seats.map((seat) => seat.seat_id));
  scene.shown = new Set(booking.seats.map((seat) => house.sectionOf[seat.seat_id]!));
  return scene;
}
