//! The gates: what a request passes before it reaches the sale, in one order.

mod address;
mod admin;
mod identity;

use std::net::IpAddr;

use crate::domain::UserId;

use super::problem::Problem;
use super::state::Call;

/// Who asks, as far as the gates know.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The client's address; `None` where the connection has none (a Unix socket).
    pub address: Option<IpAddr>,
    /// Whether a proxy says that it forwarded the request.
    pub forwarded: bool,
    /// The user, if one is named.
    pub user: Option<UserId>,
}

/// The gates in their order; each passes or refuses. All of these cost no I/O:
///
/// 1. address: who the client is on the network, believed from configured proxies alone;
/// 2. identity: which user it claims or proves to be.
pub async fn pass(call: &Call) -> Result<Caller, Problem> {
    let (address, forwarded) = address::of_client(call);
    let user = counted(call, "identity", identity::of_user(call))?;
    Ok(Caller { address, forwarded, user })
}

/// Passes the gates as a named user.
pub async fn pass_user(call: &Call) -> Result<UserId, Problem> {
    let caller = pass(call).await?;
    counted(call, "identity", caller.user.ok_or_else(identity::missing))
}

/// Passes the gates as an admin; gives the name of the key that was shown.
pub async fn pass_admin(call: &Call) -> Result<String, Problem> {
    let caller = pass(call).await?;
    counted(call, "admin", admin::check(call, &caller))
}

fn counted<T>(call: &Call, gate: &str, verdict: Result<T, Problem>) -> Result<T, Problem> {
    verdict.inspect_err(|_| call.state.metrics.gate_refusals.with_label_values(&[gate]).inc())
}
