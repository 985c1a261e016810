//! The subjects that limit rules count by.

use std::fmt;

use super::rules::Scope;
use super::{ClientNetwork, EventId, Partition, UserId};

/// The subject whose requests a rule counts together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A user.
    User(UserId),
    /// A user in one event.
    UserEvent(UserId, EventId),
    /// A client's address.
    Address(ClientNetwork),
}

impl Subject {
    /// The subject of a scope, for a caller of whom this is known; `None` where the scope does not
    /// cover such a caller.
    pub fn of(
        scope: Scope,
        user: Option<&UserId>,
        event: Option<EventId>,
        client: Option<ClientNetwork>,
    ) -> Option<Self> {
        match (scope, user) {
            (Scope::User, Some(user)) => Some(Subject::User(user.clone())),
            (Scope::User, None) | (Scope::Address, _) => client.map(Subject::Address),
            (Scope::UserEvent, user) => Some(Subject::UserEvent(user?.clone(), event?)),
        }
    }

    /// The partition that counts it: the same for a user and for that user in any event.
    pub fn partition(&self, partitions: u16) -> Partition {
        let crc = match self {
            Subject::User(user) | Subject::UserEvent(user, _) => {
                crc32fast::hash(user.as_str().as_bytes())
            }
            Subject::Address(client) => crc32fast::hash(client.to_string().as_bytes()),
        };
        // The remainder is below a u16, so the cast loses nothing.
        Partition((crc % u32::from(partitions)) as u16)
    }
}

/// The form in key names.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::User(user) => write!(f, "user:{user}"),
            Subject::UserEvent(user, event) => write!(f, "user_event:{event}:{user}"),
            Subject::Address(client) => write!(f, "address:{client}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_finds_its_subject() {
        let (ann, event): (UserId, _) = ("ann".parse().unwrap(), EventId(7));
        let client = ClientNetwork::of("10.0.0.1".parse().unwrap());
        let text = |scope, user: Option<&UserId>, event| {
            Subject::of(scope, user, event, Some(client)).map(|subject| subject.to_string())
        };
        let expected = |text: &str| Some(text.to_owned());
        assert_eq!(text(Scope::User, Some(&ann), None), expected("user:ann"));
        assert_eq!(text(Scope::User, None, None), expected("address:10.0.0.1"));
        assert_eq!(text(Scope::Address, Some(&ann), None), expected("address:10.0.0.1"));
        assert_eq!(text(Scope::UserEvent, Some(&ann), Some(event)), expected("user_event:7:ann"));
        assert_eq!(text(Scope::UserEvent, Some(&ann), None), None);
        assert_eq!(text(Scope::UserEvent, None, Some(event)), None);
        assert_eq!(Subject::of(Scope::User, None, None, None), None);
    }

    #[test]
    fn user_is_counted_in_one_partition() {
        for name in ["ann", "bob", "eve"] {
            let user: UserId = name.parse().unwrap();
            let (alone, in_event) =
                (Subject::User(user.clone()), Subject::UserEvent(user, EventId(3)));
            assert_eq!(alone.partition(16), in_event.partition(16));
        }
    }
}
