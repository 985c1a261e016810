import type { Booking } from '../api/types';

/** "Stalls, row K: 20, 21, 22" for each row of a booking. */
export function rowsOf(booking: Booking): { place: string; section: string; row: string | null; numbers: number[] }[] {
  const rows: { place: string; section: string; row: string | null; numbers: number[] }[] = [];
  for (const seat of booking.seats) {
    const last = rows[rows.length - 1];
    if (last && last.section === seat.section && last.row === seat.row_number) last.numbers.push(seat.seat_number);
    else rows.push({ place: seat.row_number ? `${seat.section}, row ${seat.row_number}` : seat.section, section: seat.section, row: seat.row_number, numbers: [seat.seat_number] });
  }
  return rows;
}

/** "K-20, 21, 22". */
export function shortSeats(booking: Booking): string {
  return rowsOf(booking)
    .map((row) => (row.row ? `${row.row}-${row.numbers.join(', ')}` : `${row.section} ${row.numbers.join(', ')}`))
    .join('; ');
}

/** "Stalls, row K: 20, 21, 22". */
export function longSeats(booking: Booking): string {
  return rowsOf(booking)
    .map((row) => `${row.place}: ${row.numbers.join(', ')}`)
    .join('; ');
}

/** "K-20, 21 go back on sale". */
export function backOnSale(names: string, count: number): string {
  return `${names} ${count === 1 ? 'goes' : 'go'} back on sale`;
}
