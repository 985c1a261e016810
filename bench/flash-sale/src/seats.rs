//! Which seats a buyer asks for by id: side by side in one row where there are such, near the
//! front if the crowd wants the front.

use rand::{Rng, RngExt};

/// What a free seat's byte is, and one that begins a row.
const FREE: u8 = b'a';
const FREE_FIRST: u8 = b'A';

/// A seat map as the API gives it in bytes: a format byte, then one byte a seat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeatMap(Vec<u8>);

impl SeatMap {
    /// Reads the API's bytes; `None` if they are no map of this many seats.
    pub fn read(bytes: &[u8], total_seats: u32) -> Option<Self> {
        let seats = bytes.strip_prefix(b"1")?;
        (seats.len() == total_seats as usize).then(|| SeatMap(seats.to_vec()))
    }

    /// Seats to request for, ascending, whatever their state is now.
    pub fn anywhere(&self, wanted: u32, front: f64, rng: &mut impl Rng) -> Vec<u32> {
        let wanted = (wanted as usize).min(self.0.len());
        let start = self.start(front, rng);
        // Back from the end of the row, so that all are in it if it is long enough.
        let row_end = (start + 1..self.0.len()).find(|i| self.begins_row(*i));
        let end = row_end.unwrap_or(self.0.len()).min(start + wanted);
        let first = end.saturating_sub(wanted);
        (first..first + wanted).map(id).collect()
    }

    /// Seats to request for that are free by this map: side by side from a random place on, else
    /// single ones; empty if too few are free.
    pub fn free(&self, wanted: u32, front: f64, rng: &mut impl Rng) -> Vec<u32> {
        let (wanted, total) = (wanted as usize, self.0.len());
        let start = self.start(front, rng);
        let mut run = 0;
        let mut singles = Vec::with_capacity(wanted);
        // So far around that a run over the random place is found whole.
        for step in 0..total + wanted - 1 {
            let i = (start + step) % total;
            // A run ends where a row begins, and at the map's end.
            run = match (self.is_free(i), self.begins_row(i) || i == 0) {
                (false, _) => 0,
                (true, true) => 1,
                (true, false) => run + 1,
            };
            if run == wanted {
                return (i + 1 - wanted..=i).map(id).collect();
            }
            if step < total && self.is_free(i) && singles.len() < wanted {
                singles.push(id(i));
            }
        }
        if singles.len() < wanted {
            return Vec::new();
        }
        singles.sort_unstable();
        singles
    }

    fn start(&self, front: f64, rng: &mut impl Rng) -> usize {
        let place = rng.random::<f64>().powf(front) * self.0.len() as f64;
        (place as usize).min(self.0.len().saturating_sub(1))
    }

    fn begins_row(&self, i: usize) -> bool {
        self.0[i].is_ascii_uppercase()
    }

    fn is_free(&self, i: usize) -> bool {
        matches!(self.0[i], FREE | FREE_FIRST)
    }
}

/// Seat ids are counted from 1; an event has at most a million.
fn id(index: usize) -> u32 {
    index as u32 + 1
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn map(seats: &str) -> SeatMap {
        SeatMap::read(format!("1{seats}").as_bytes(), seats.len() as u32).unwrap()
    }

    #[test]
    fn only_a_whole_map_is_read() {
        assert_eq!(SeatMap::read(b"1Aaa", 4), None);
        assert_eq!(SeatMap::read(b"2Aaa", 3), None);
        assert!(SeatMap::read(b"1Aaa", 3).is_some());
    }

    #[test]
    fn wishes_stay_within_a_row() {
        let (map, rng) = (map("AaaaaAaaaaAaaaa"), &mut StdRng::seed_from_u64(1));
        for _ in 0..500 {
            let seats = map.anywhere(3, 1.0, rng);
            assert_eq!(seats.len(), 3);
            assert!(seats.windows(2).all(|pair| pair[1] == pair[0] + 1));
            assert_eq!((seats[0] - 1) / 5, (seats[2] - 1) / 5, "{seats:?}");
        }
        // Longer than a row: still the requested number, from the beginning.
        assert_eq!(map.anywhere(7, 1.0, rng).len(), 7);
    }

    #[test]
    fn the_front_is_wanted_more() {
        let (map, rng) = (map(&"a".repeat(800)), &mut StdRng::seed_from_u64(1));
        let front = (0..1_000).filter(|_| map.anywhere(1, 3.0, rng)[0] <= 100).count();
        assert!((430..570).contains(&front), "{front}");
    }

    #[test]
    fn free_seats_are_side_by_side_if_there_are_such() {
        let (map, rng) = (map("AhaBaaXaba"), &mut StdRng::seed_from_u64(1));
        for _ in 0..100 {
            assert_eq!(map.free(2, 1.0, rng), [5, 6]);
            // Nowhere three in a row: the singles that are left.
            let three = map.free(3, 1.0, rng);
            assert!(three.len() == 3 && three.iter().all(|s| [1, 3, 5, 6, 8, 10].contains(s)));
            assert!(map.free(7, 1.0, rng).is_empty());
        }
    }
}
