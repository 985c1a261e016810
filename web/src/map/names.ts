import { pub } from '../api/client';
import { NO_ROW } from './plan';
import type { Scene } from './scene';

/** "K-20"; in general admission the section's name. */
export function seatLabel(scene: Scene, seat: number): string {
  const row = scene.plan.rows[scene.plan.rowOf[seat] ?? NO_ROW];
  if (!row) return sectionName(scene, seat);
  const number = seat - row.first + 1;
  return row.name ? `${row.name}-${number}` : String(number);
}

/** "Stalls, row K, seat 20". */
export function seatPlace(scene: Scene, seat: number): string {
  const row = scene.plan.rows[scene.plan.rowOf[seat] ?? NO_ROW];
  if (!row) return sectionName(scene, seat);
  const place = row.name ? `row ${row.name}, ` : '';
  return `${sectionName(scene, seat)}, ${place}seat ${seat - row.first + 1}`;
}

export function sectionName(scene: Scene, seat: number): string {
  return scene.house.sections[scene.house.sectionOf[seat]!]?.name ?? '';
}

/** "K-20, 21, 22": the row once, for seats side by side. */
export function seatsLabel(scene: Scene, seats: readonly number[]): string {
  let row = NO_ROW;
  return seats
    .map((seat) => {
      const its = scene.plan.rowOf[seat] ?? NO_ROW;
      const label = its === row && its !== NO_ROW ? String(seat - scene.plan.rows[its]!.first + 1) : seatLabel(scene, seat);
      row = its;
      return label;
    })
    .join(', ');
}

/** Fetches the names of rows where the event does not list them. */
export async function loadRowNames(scene: Scene, event: number): Promise<void> {
  if (scene.plan.rows.every((row) => row.name)) return;
  const { body } = await pub.seats(event);
  for (const row of scene.plan.rows) row.name = body.seats[row.first - 1]?.row_number ?? '';
}
