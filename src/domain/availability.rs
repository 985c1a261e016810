//! How much is left, in a word: for those who are not to know the number.

/// At most this share of the seats is few, percent.
pub const FEW_LEFT_PERCENT: u64 = 10;

/// How much of an event or a section is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// More than a few.
    Available,
    /// At most [`FEW_LEFT_PERCENT`] of the seats.
    FewLeft,
    /// Nothing.
    SoldOut,
}

impl Availability {
    /// All words, in enum order.
    pub const WORDS: [&str; 3] = ["AVAILABLE", "FEW_LEFT", "SOLD_OUT"];

    /// The word for so many free seats of so many.
    pub fn of(free: u32, total: u32) -> Self {
        match free {
            0 => Availability::SoldOut,
            _ if u64::from(free) * 100 <= u64::from(total) * FEW_LEFT_PERCENT => {
                Availability::FewLeft
            }
            _ => Availability::Available,
        }
    }

    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        Self::WORDS[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_few_and_nothing_is_sold_out() {
        let cases = [
            (0, 100, "SOLD_OUT"),
            (1, 100, "FEW_LEFT"),
            (10, 100, "FEW_LEFT"),
            (11, 100, "AVAILABLE"),
            (100, 100, "AVAILABLE"),
            (1, 3, "AVAILABLE"),
            (1, 1_000_000, "FEW_LEFT"),
            (u32::MAX, u32::MAX, "AVAILABLE"),
            (0, 0, "SOLD_OUT"),
        ];
        for (free, total, word) in cases {
            assert_eq!(Availability::of(free, total).as_str(), word, "{free} of {total}");
        }
    }
}
