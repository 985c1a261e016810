//! Lists of seats in request bodies.

use std::collections::HashSet;

use crate::domain::SeatId;
use crate::domain::limits::SEATS_PER_EVENT_MAX;
use crate::http::fields::Whole;
use crate::http::problem::Problem;

/// A seat's number in a body.
pub type SeatNumber = Whole<1, SEATS_PER_EVENT_MAX>;

/// Up to so many seats are compared with each other, without a set.
const COMPARED_MAX: usize = 16;

/// The seats of the field `seat_ids`, each named once.
pub fn each_once(numbers: Vec<SeatNumber>) -> Result<Vec<SeatId>, Problem> {
    let seats: Vec<SeatId> = numbers.into_iter().map(|number| SeatId(number.0)).collect();
    let repeated = if seats.len() <= COMPARED_MAX {
        (1..seats.len()).find(|n| seats[..*n].contains(&seats[*n]))
    } else {
        let mut before = HashSet::with_capacity(seats.len());
        seats.iter().position(|seat| !before.insert(*seat))
    };
    match repeated {
        None => Ok(seats),
        Some(index) => Err(Problem::field(
            &format!("seat_ids[{index}]"),
            format_args!("names seat {} a second time; name each seat once", seats[index]),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_seat_is_named_with_its_place() {
        for count in [COMPARED_MAX as u32 - 1, COMPARED_MAX as u32 + 1] {
            let seats = |last| (1..=count).chain([last]).map(Whole).collect();
            assert_eq!(each_once(seats(count + 1)).unwrap().len(), count as usize + 1);
            let problem = each_once(seats(3)).unwrap_err();
            let expected = format!("`seat_ids[{count}]` names seat 3 a second time");
            assert!(problem.detail.starts_with(&expected), "{}", problem.detail);
        }
    }
}
