//! The known durability of a booking's state at the time of a response.

/// Each level includes the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Durability {
    /// Redis has it, as durable as its persistence settings.
    Accepted,
    /// The required number of Redis replicas has it.
    Replicated,
    /// A majority of MongoDB has journalled it.
    Archived,
}

/// Durability and name, in enum order.
pub const DURABILITIES: [(Durability, &str); 3] = [
    (Durability::Accepted, "accepted"),
    (Durability::Replicated, "replicated"),
    (Durability::Archived, "archived"),
];

impl Durability {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        DURABILITIES[self as usize].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_enum_order() {
        for (index, (durability, word)) in DURABILITIES.into_iter().enumerate() {
            assert_eq!((durability as usize, durability.as_str()), (index, word));
        }
    }
}
