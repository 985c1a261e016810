//! Availability as a word, for clients that may not see the number of free seats.

/// At most this share of the seats counts as few, percent.
pub const FEW_LEFT_PERCENT: u64 = 10;

/// The availability of an event or a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// More than [`FEW_LEFT_PERCENT`] of the seats.
    Available,
    /// At most [`FEW_LEFT_PERCENT`] of the seats.
    FewLeft,
    /// None.
    SoldOut,
}

impl Availability {
    /// All words, in enum order.
    pub const WORDS: [&str; 3] = ["AVAILABLE", "FEW_LEFT", "SOLD_OUT"];

    /// The availability of `free` seats out of `total`.
    pub fn of(free: u32, total: u32) -> Self {
        match free {
            0 => Availability::SoldOut,
            _ if u64::from(free) * 100 <= u64::from(total) * FEW_LEFT_PERCENT => {
                Availability::FewLeft
            }
            _ => Availability::Available,
        }
    }

    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        Self::WORDS[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenth_is_few_and_zero_is_sold_out() {
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
