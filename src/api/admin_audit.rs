//! Admin acts over HTTP: each is recorded before it is done, and so is what became of it.

use futures_util::future::LocalBoxFuture;

use crate::domain::{BookingId, EventId, UserId};
use crate::sale::NewAct;

use super::state::RequestContext;
use crate::gates::{self, Caller};
use crate::http::HandlerResult;
use crate::http::problem::Problem;

/// What is recorded of an act that was done.
const DONE: &str = "ok";

/// What an admin is about to do.
pub struct Act {
    /// The verb: `event_create`.
    pub act: &'static str,
    /// To what: `event 7`.
    pub target: String,
    /// With which particulars.
    pub detail: String,
}

/// Does something as an admin, once it is recorded. An act that cannot be recorded is not done.
/// Boxed, as futures are deep here, and users need none of it.
pub async fn recorded(
    context: &RequestContext,
    admin: &str,
    act: Act,
    doing: LocalBoxFuture<'_, HandlerResult>,
) -> HandlerResult {
    let new = NewAct {
        who: admin.to_owned(),
        act: act.act.to_owned(),
        target: act.target,
        detail: act.detail,
        trace_id: context.trace.trace_id().to_string(),
        ..NewAct::default()
    };
    let begun = context.state.sale.audit().begin(new).await?;
    let answer = doing.await;
    let result = answer.as_ref().map_or_else(|problem| problem.code.as_str(), |_| DONE);
    begun.end(result).await;
    answer
}

/// Does something to a booking as its owner: the user who asks, whose it is or not, or for an
/// admin whoever it belongs to.
pub async fn as_owner(
    context: &RequestContext,
    caller: Caller,
    act: &'static str,
    booking: BookingId,
    doing: impl AsyncFnOnce(UserId) -> HandlerResult,
) -> HandlerResult {
    let Some(admin) = &caller.admin else { return doing(gates::user_of(caller)?).await };
    let act = Act { act, target: format!("booking {booking}"), detail: String::new() };
    let as_its_owner = async {
        let owner = context.state.sale.owner_of(booking).await.map_err(Problem::from)?;
        doing(owner).await
    };
    recorded(context, admin, act, Box::pin(as_its_owner)).await
}

/// Does something as a user: the one who asks, or for an admin the one it names; `particulars` are
/// recorded with that.
pub async fn as_user(
    context: &RequestContext,
    caller: Caller,
    act: &'static str,
    event: Option<EventId>,
    particulars: &str,
    doing: impl AsyncFnOnce(UserId) -> HandlerResult,
) -> HandlerResult {
    let admin = caller.admin.clone();
    let user = gates::user_of(caller)?;
    let Some(admin) = admin else { return doing(user).await };
    let target = event.map(|event| format!("event {event}")).unwrap_or_default();
    let detail = match particulars {
        "" => format!("for user {user}"),
        particulars => format!("for user {user}: {particulars}"),
    };
    let act = Act { act, target, detail };
    recorded(context, &admin, act, Box::pin(doing(user))).await
}
