//! Pushed updates: `/ws/events/{event_id}` (WebSocket) and `/api/v1/events/{event_id}/stream`
//! (server-sent events), and tickets for both. The handlers check the request; `push` runs the connection.

mod room;
pub mod socket;
pub mod stream;
pub mod ticket;

use crate::domain::ClientNetwork;
use crate::gates::Caller;

/// The network that a socket counts for; `None` for local and exempt callers.
fn limited_network(caller: &Caller) -> Option<ClientNetwork> {
    let is_counted = !caller.on_loopback && !caller.allowed;
    caller.client().filter(|_| is_counted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::RouteClass;

    #[test]
    fn local_and_exempt_callers_count_for_no_network() {
        let caller = Caller {
            address: Some("9.9.9.9".parse().unwrap()),
            is_direct: false,
            names_users: crate::gates::NamesUsers::No,
            is_backend: false,
            may_be_program: false,
            user: None,
            admin: None,
            event: None,
            class: RouteClass::Push,
            on_loopback: false,
            allowed: false,
        };
        assert!(limited_network(&caller).is_some());
        assert!(limited_network(&Caller { on_loopback: true, ..caller.clone() }).is_none());
        assert!(limited_network(&Caller { allowed: true, ..caller }).is_none());
    }
}
