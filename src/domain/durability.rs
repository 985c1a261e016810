//! What is known of where a booking's state is kept by the time it is told.

/// Each includes the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Durability {
    /// Redis has it, as safely as its own persistence makes it.
    Accepted,
    /// As many replicas of Redis as are asked for have it.
    Replicated,
    /// A majority of MongoDB has journalled it.
    Archived,
}

/// Durability and word, in enum order.
pub const DURABILITIES: [(Durability, &str); 3] = [
    (Durability::Accepted, "accepted"),
    (Durability::Replicated, "replicated"),
    (Durability::Archived, "archived"),
];

impl Durability {
    /// The word clients see.
    pub fn as_str(self) -> &'static str {
        DURABILITIES[self as usize].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_in_enum_order() {
        for (index, (durability, word)) in DURABILITIES.into_iter().enumerate() {
            assert_eq!((durability as usize, durability.as_str()), (index, word));
        }
    }
}
