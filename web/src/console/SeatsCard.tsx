import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { pub } from '../api/client';
import type { Booking, EventBody } from '../api/types';
import { formatMoney } from '../base/format';
import { House } from '../live/house';
import { SmallHouse } from '../map/MiniMap';
import { makePlan } from '../map/plan';
import { Scene } from '../map/scene';

/** Where a booking's seats lie, and what each costs. */
export function SeatsCard({ booking, event }: { booking: Booking; event: EventBody | null }): JSX.Element {
  const scene = useSignal<Scene | null>(null);
  useEffect(() => {
    if (!event) return;
    pub.seatBytes(event.id).then(
      ({ body }) => {
        const house = new House(event.sections ?? [], event.total_seats);
        house.take(body);
        const next = new Scene(house, makePlan(house.sections, house.total, house.rowStart), event.currency);
        next.yours = new Set(booking.seats.map((seat) => seat.seat_id));
        next.shown = new Set(booking.seats.map((seat) => house.sectionOf[seat.seat_id]!));
        scene.value = next;
      },
      (error) => console.warn('No map', error),
    );
  }, [event?.id, booking.id]);
  return (
    <section class="card seats-card">
      <div class="row head"><h2 class="grow">Seats</h2><span class="t3">{booking.seats.length}</span></div>
      {scene.value && <div class="small-house"><SmallHouse scene={scene.value} width={296} height={200} label="Where the seats lie" /></div>}
      <ul>
        {booking.seats.map((seat) => (
          <li class="row">
            <span class="badge ink">{seat.seat_label}</span>
            <span class="grow t2 cut">{seat.section}{seat.row_number ? `, row ${seat.row_number}` : ''}</span>
            <span>{formatMoney(seat.price_at_booking, booking.currency)}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}
