//! Requests that show an admin key: the gate `admin`.

use std::time::Instant;

use actix_web::HttpRequest;

use super::meters::Gate;
use super::{Caller, Gates, Verdict, admin};
use crate::domain::RouteClass;
use crate::http::problem::Problem;
use crate::http::request_head::RequestHead;

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

    /// Passes the gates as an admin; gives the name of the key that was shown.
    pub async fn pass_admin(&self, head: &RequestHead) -> Result<String, Problem> {
        let caller = self.enter(&head.http, RouteClass::Admin, head.started)?;
        let looked = admin::check(&self.config, &head.http, &caller);
        let admin = self.failed_keys.judge(&caller, looked, head.started);
        self.admit_admin(admin, &caller, head.started)
    }

    /// Whether a caller who passed the gates of a route for anybody shows an admin key.
    ///
    /// # Errors
    /// If it is none of ours.
    pub fn shows_admin_key(&self, head: &RequestHead, caller: &Caller) -> Result<bool, Problem> {
        if !admin::key_is_shown(&head.http) {
            return Ok(false);
        }
        let looked = admin::check_key(&self.config, &head.http, caller);
        self.failed_keys.judge_again(caller, looked, head.started).map(|_| true)
    }
}
