//! The audit of admin actions over HTTP: each is recorded before it happens, and its result
//! afterwards.

use futures_util::future::LocalBoxFuture;

use crate::domain::{BookingId, EventId, UserId};
use crate::sale::NewAuditEntry;

use super::state::RequestContext;
use crate::gates::{self, Caller};
use crate::http::HandlerResult;
use crate::http::problem::Problem;

/// The recorded result of a successful action.
const DONE: &str = "ok";

/// An action of an admin, before it happens.
pub struct AdminAction {
    /// The verb: `event_create`.
    pub verb: &'static str,
    /// Its object: `event 7`.
    pub target: String,
    /// Its particulars.
    pub detail: String,
}

/// Records an action, runs it and records its result. If it cannot be recorded, it does not run.
///
/// `operation` is boxed: it is a large future, and requests of users do not need it.
pub async fn recorded(
    context: &RequestContext,
    admin: &str,
    action: AdminAction,
    operation: LocalBoxFuture<'_, HandlerResult>,
) -> HandlerResult {
    let new = NewAuditEntry {
        who: admin.to_owned(),
        act: action.verb.to_owned(),
        target: action.target,
        detail: action.detail,
        trace_id: context.trace.trace_id().to_string(),
        ..NewAuditEntry::default()
    };
    let begun = context.state.sale.audit().begin(new).await?;
    let answer = operation.await;
    let result = answer.as_ref().map_or_else(|problem| problem.code.as_str(), |_| DONE);
    begun.end(result).await;
    answer
}

/// Runs an operation on a booking. A user acts as themselves, whether or not the booking is
/// theirs; an admin acts as the booking's owner, and the action is recorded.
pub async fn as_owner(
    context: &RequestContext,
    caller: Caller,
    verb: &'static str,
    booking: BookingId,
    operation: impl AsyncFnOnce(UserId) -> HandlerResult,
) -> HandlerResult {
    let Some(admin) = &caller.admin else { return operation(gates::user_of(caller)?).await };
    let action = AdminAction { verb, target: format!("booking {booking}"), detail: String::new() };
    let as_owner = async {
        let owner = context.state.sale.owner_of(booking).await.map_err(Problem::from)?;
        operation(owner).await
    };
    recorded(context, admin, action, Box::pin(as_owner)).await
}

/// Runs an operation as a user: the caller, or the user that an admin names. An admin's action is
/// recorded with `particulars`.
pub async fn as_user(
    context: &RequestContext,
    caller: Caller,
    verb: &'static str,
    event: Option<EventId>,
    particulars: &str,
    operation: impl AsyncFnOnce(UserId) -> HandlerResult,
) -> HandlerResult {
    let admin = caller.admin.clone();
    let user = gates::user_of(caller)?;
    let Some(admin) = admin else { return operation(user).await };
    let target = event.map(|event| format!("event {event}")).unwrap_or_default();
    let detail = match particulars {
        "" => format!("for user {user}"),
        particulars => format!("for user {user}: {particulars}"),
    };
    let action = AdminAction { verb, target, detail };
    recorded(context, &admin, action, Box::pin(operation(user))).await
}
