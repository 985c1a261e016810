//! Error replies of a Cluster's node that did not run a command, with the node that would.

use fred::error::Error;

use super::slot_map::address;
use crate::redis::connect::NodeAddress;

/// Why a node did not run a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redirect {
    /// Another node serves the slot.
    Moved(NodeAddress),
    /// The slot is being moved, and these keys are on its new node already.
    Ask(NodeAddress),
    /// The slot is being moved, and these keys are on both nodes now.
    TryAgain,
    /// The node serves no commands now, or only reads.
    Refused,
}

impl Redirect {
    /// Parses an error reply of the node at `source`; `None` if it is no such reply.
    pub fn of(error: &Error, source: &NodeAddress) -> Option<Redirect> {
        let mut words = error.details().split_whitespace();
        match words.next()? {
            "MOVED" => target(words.nth(1)?, source).map(Redirect::Moved),
            "ASK" => target(words.nth(1)?, source).map(Redirect::Ask),
            "TRYAGAIN" => Some(Redirect::TryAgain),
            "READONLY" | "MASTERDOWN" => Some(Redirect::Refused),
            _ => None,
        }
    }
}

fn target(text: &str, source: &NodeAddress) -> Option<NodeAddress> {
    let (host, port) = text.rsplit_once(':')?;
    Some(address(host, port.parse().ok()?, source))
}

#[cfg(test)]
mod tests {
    use fred::error::ErrorKind;

    use super::*;

    #[test]
    fn error_replies_map_to_redirects() {
        let at = |host: &str, port| NodeAddress { host: host.into(), port };
        let of = |text: &'static str| {
            Redirect::of(&Error::new(ErrorKind::Cluster, text), &at("source", 1))
        };
        assert_eq!(of("MOVED 7 10.0.0.1:6381"), Some(Redirect::Moved(at("10.0.0.1", 6381))));
        assert_eq!(of("MOVED 7 :6381"), Some(Redirect::Moved(at("source", 6381))));
        assert_eq!(of("ASK 7 ::1:6381"), Some(Redirect::Ask(at("[::1]", 6381))));
        assert_eq!(of("TRYAGAIN Multiple keys request"), Some(Redirect::TryAgain));
        assert_eq!(of("READONLY You can't write"), Some(Redirect::Refused));
        assert_eq!(of("MOVED 7 nowhere"), None);
        assert_eq!(of("ERR no"), None);
    }
}
