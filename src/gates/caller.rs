//! The sender of a request.

use std::net::IpAddr;

use crate::domain::{ClientNetwork, EventId, RouteClass, UserId};
use crate::http::problem::{Code, Problem};

/// How a caller may name a user without a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamesUsers {
    /// Not at all.
    No,
    /// By `X-User-Id`, which a gateway of `identity_proxies` sets. The rest of the request,
    /// including its query, is the client's.
    ByHeader,
    /// By `X-User-Id` or `?user_id=`: a developer's direct request on this machine.
    ByHeaderOrParameter,
}

/// The sender of a request, as far as the gates have identified it.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The client's address; `None` where the connection has none (a Unix socket).
    pub address: Option<IpAddr>,
    /// Whether the request comes from this machine itself, and no proxy forwarded it.
    pub is_direct: bool,
    /// How the caller may name a user without a proof (`auth = "trusted"`).
    pub names_users: NamesUsers,
    /// Whether it is a configured proxy that forwards no one's request: a shop's backend.
    pub is_backend: bool,
    /// Whether it is a backend that is vouched for, so that the bot rules do not apply.
    pub may_be_program: bool,
    /// The user, if one is named.
    pub user: Option<UserId>,
    /// The name of the admin key shown on a route of users.
    pub admin: Option<String>,
    /// The event of the request.
    pub event: Option<EventId>,
    /// The class of the request's route.
    pub class: RouteClass,
    /// Whether it is on this machine, and may name any user: a developer.
    pub on_loopback: bool,
    /// Whether it is exempt from all rules, by the allow list or as an admin.
    pub allowed: bool,
}

impl Caller {
    /// A caller of whom nothing is known yet.
    pub fn unknown(class: RouteClass) -> Self {
        Caller {
            address: None,
            is_direct: false,
            names_users: NamesUsers::No,
            is_backend: false,
            may_be_program: false,
            user: None,
            admin: None,
            event: None,
            class,
            on_loopback: false,
            allowed: false,
        }
    }

    /// The client as limits count it.
    pub fn client(&self) -> Option<ClientNetwork> {
        self.address.map(ClientNetwork::of)
    }
}

/// The user a request is for, of the caller or named by an admin.
pub fn user_of(caller: Caller) -> Result<UserId, Problem> {
    caller.user.ok_or_else(unnamed)
}

/// The same, of a borrowed caller.
pub fn named_user(caller: &Caller) -> Result<&UserId, Problem> {
    caller.user.as_ref().ok_or_else(unnamed)
}

/// An admin named no user; `screen` has refused all others.
fn unnamed() -> Problem {
    let detail = "Say for which user: the header X-User-Id or the parameter ?user_id=";
    Problem::new(Code::IdentityMissing, detail)
}
