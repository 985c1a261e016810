//! Error replies by which a Cluster's node says that it did not run a command, and who would.

use fred::error::Error;

use super::slot_map::address;
use crate::redis::connect::NodeAddress;

/// Why a node did not run a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redirect {
    /// The slot is another node's.
    Moved(NodeAddress),
    /// The slot is being moved, and these keys are on its new node already.
    Ask(NodeAddress),
    /// The slot is being moved, and these keys are on both nodes now.
    TryAgain,
    /// The node serves nobody now, or only readers.
    Refused,
}

impl Redirect {
    /// Reads an error reply of the node at `asked`; `None` if it says nothing of the kind.
    pub fn of(error: &Error, asked: &NodeAddress) -> Option<Redirect> {
        let mut words = error.details().split_whitespace();
        match words.next()? {
            "MOVED" => target(words.nth(1)?, asked).map(Redirect::Moved),
            "ASK" => target(words.nth(1)?, asked).map(Redirect::Ask),
            "TRYAGAIN" => Some(Redirect::TryAgain),
            "READONLY" | "MASTERDOWN" => Some(Redirect::Refused),
            _ => None,
        }
    }
}

fn target(text: &str, asked: &NodeAddress) -> Option<NodeAddress> {
    let (host, port) = text.rsplit_once(':')?;
    Some(address(host, port.parse().ok()?, asked))
}

#[cfg(test)]
mod tests {
    use fred::error::ErrorKind;

    use super::*;

    #[test]
    fn each_reply_is_understood() {
        let at = |host: &str, port| NodeAddress { host: host.into(), port };
        let of = |text: &'static str| {
            Redirect::of(&Error::new(ErrorKind::Cluster, text), &at("asked", 1))
        };
        assert_eq!(of("MOVED 7 10.0.0.1:6381"), Some(Redirect::Moved(at("10.0.0.1", 6381))));
        assert_eq!(of("MOVED 7 :6381"), Some(Redirect::Moved(at("asked", 6381))));
        assert_eq!(of("ASK 7 ::1:6381"), Some(Redirect::Ask(at("[::1]", 6381))));
        assert_eq!(of("TRYAGAIN Multiple keys request"), Some(Redirect::TryAgain));
        assert_eq!(of("READONLY You can't write"), Some(Redirect::Refused));
        assert_eq!(of("MOVED 7 nowhere"), None);
        assert_eq!(of("ERR no"), None);
    }
}
