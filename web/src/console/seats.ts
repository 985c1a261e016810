import type { AdminSeat } from './types';

/** "K-20, 21, 22": a row's name once, for seats in one row. */
export function seatNames(seats: readonly AdminSeat[]): string {
  let row = '';
  return seats
    .map((seat) => {
      const its = seat.row === null ? '' : `${seat.section}/${seat.row}`;
      const isSame = its !== '' && its === row;
      row = its;
      return isSame && seat.row !== null && seat.label.startsWith(`${seat.row}-`) ? seat.label.slice(seat.row.length + 1) : seat.label;
    })
    .join(', ');
}

/** "Stalls K-20, 21; Circle A-3". */
export function seatPlaces(seats: readonly AdminSeat[]): string {
  const sections = [...new Set(seats.map((seat) => seat.section))];
  return sections.map((section) => `${section} ${seatNames(seats.filter((seat) => seat.section === section))}`).join('; ');
}
