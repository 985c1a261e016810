//! A request between the gates without I/O and its use case, as types: [`Screened`], then
//! [`Admitted`] or refused. Each screened request counts toward its caller's limits exactly once.

use std::mem;

use super::quotas::Counted;
use super::{Caller, Gates, named_user};
use crate::domain::{EventId, UserId};
use crate::http::problem::Problem;
use crate::http::request_head::RequestHead;

/// A request that passed the gates without I/O, and is not counted yet.
///
/// INVARIANT: it is counted exactly once. [`Screened::admit`] counts it in Redis;
/// [`Screened::refuse`] counts it in this process, as refused, and so does dropping it. A handler
/// may therefore return an error at any line between screening and admission.
#[must_use = "admit the request, or refuse it: dropped, it counts as refused"]
pub struct Screened<'a> {
    gates: &'a Gates,
    head: &'a RequestHead,
    caller: Caller,
    is_counted: bool,
}

impl<'a> Screened<'a> {
    pub(super) fn new(gates: &'a Gates, head: &'a RequestHead, caller: Caller) -> Self {
        Screened { gates, head, caller, is_counted: false }
    }

    /// The caller, as far as it is known.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The user the request is for.
    ///
    /// # Errors
    /// If none is named: an admin must name one.
    pub fn user(&self) -> Result<&UserId, Problem> {
        named_user(&self.caller)
    }

    /// Sets the event, which rules of a user in an event count by.
    pub fn set_event(&mut self, event: EventId) {
        self.caller.event = Some(event);
    }

    /// Counts the request in Redis, under the limits that all processes share: one round trip at
    /// most.
    ///
    /// # Errors
    /// If the caller is over a limit, or a limit that does not do without Redis cannot be counted.
    pub async fn admit(mut self) -> Result<Admitted<'a>, Problem> {
        self.is_counted = true;
        let (gates, head) = (self.gates, self.head);
        let unknown = Caller::unknown(self.caller.class);
        let caller = mem::replace(&mut self.caller, unknown);
        let counted = gates.count(head, &caller).await?;
        Ok(Admitted { gates, caller, counted })
    }

    /// Counts the request in this process, as refused. Rules that count grants do not count it.
    pub fn refuse(self) {}
}

impl Drop for Screened<'_> {
    fn drop(&mut self) {
        if !self.is_counted {
            self.gates.count_refused(self.head, &self.caller);
        }
    }
}

/// A request that passed all gates and is counted.
///
/// Under rules that count grants it counts as granted until [`Admitted::not_granted`] takes it
/// back. Dropped without either it goes on to count: its outcome is unknown.
#[must_use = "report the outcome: booked, or not granted"]
pub struct Admitted<'a> {
    gates: &'a Gates,
    caller: Caller,
    counted: Counted,
}

impl Admitted<'_> {
    /// The caller.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The caller, of a request that no rule for grants is about.
    pub fn into_caller(self) -> Caller {
        self.caller
    }

    /// The request was granted nothing new: it was refused, or answered with an existing booking.
    pub fn not_granted(self) {
        self.gates.take_back(self.counted.grants);
    }

    /// The caller has booked: what rules with `forgiven_by_booking` counted before the request was
    /// admitted is forgotten.
    pub fn booked(self) {
        self.gates.forgive(&self.caller, self.counted.is_forgivable);
    }
}
