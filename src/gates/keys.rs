//! Requests that show an admin key: the gate `admin`.

use std::time::Instant;

use actix_web::HttpRequest;

use super::meters::Gate;
use super::{Caller, Gates, Verdict, admin};
use crate::api::state::Call;
use crate::domain::RouteClass;
use crate::http::problem::Problem;

impl Gates {
    /// The name of the key that a request shows beside its user; a wrong one is counted.
    pub(super) fn check_key(
        &self,
        request: &HttpRequest,
        caller: &Caller,
        now: Instant,
    ) -> Result<String, Problem> {
        let looked = admin::check_key(&self.config, request, caller);
        self.failed_keys.judge(caller, looked, now)
    }

    /// What the gate `admin` says; a key that is wrong, or missing, is counted as a request of its
    /// address.
    pub(super) fn admit_admin<T>(
        &self,
        admin: Result<T, Problem>,
        caller: &Caller,
        now: Instant,
    ) -> Result<T, Problem> {
        let mut meter = self.meters.begin();
        meter.note(Gate::Admin, admin.as_ref().map(|_| Verdict::Passed));
        if admin.is_err() {
            let rules = self.rules.load();
            meter.passes(Gate::CallerRate, rules.rate_of_caller(caller, now))?;
        }
        admin
    }
}

/// Passes the gates as an admin; gives the name of the key that was shown.
pub async fn pass_admin(call: &Call) -> Result<String, Problem> {
    let gates = &call.state.gates;
    let caller = gates.enter(&call.request, RouteClass::Admin, call.started)?;
    let looked = admin::check(&gates.config, &call.request, &caller);
    let admin = gates.failed_keys.judge(&caller, looked, call.started);
    gates.admit_admin(admin, &caller, call.started)
}

/// Whether a caller who passed the gates of a route for anybody shows an admin key.
///
/// # Errors
/// If it is none of ours.
pub fn shows_admin_key(call: &Call, caller: &Caller) -> Result<bool, Problem> {
    if !admin::key_is_shown(&call.request) {
        return Ok(false);
    }
    let gates = &call.state.gates;
    let looked = admin::check_key(&gates.config, &call.request, caller);
    gates.failed_keys.judge_again(caller, looked, call.started).map(|_| true)
}
