//! The gate `admin`: requests that show an admin key.

use std::time::Instant;

use actix_web::HttpRequest;

use super::meters::Gate;
use super::{Caller, Gates, Verdict, admin};
use crate::domain::RouteClass;
use crate::http::problem::Problem;
use crate::http::request_head::RequestHead;

impl Gates {
    /// The name of the key that a request shows beside its user; counts a wrong one.
    pub(super) fn check_key(
        &self,
        request: &HttpRequest,
        caller: &Caller,
        now: Instant,
    ) -> Result<String, Problem> {
        let config = self.config.load();
        let checked = admin::check_key(&config, request, caller);
        self.failed_keys.judge(caller, checked, now)
    }

    /// Applies the gate `admin`; a wrong or missing key counts as a request of its address.
    pub(super) fn admit_admin<T>(
        &self,
        admin: Result<T, Problem>,
        caller: &Caller,
        now: Instant,
    ) -> Result<T, Problem> {
        let mut meter = self.meters.begin();
        meter.record(Gate::Admin, admin.as_ref().map(|_| Verdict::Passed));
        if admin.is_err() {
            let rules = self.rules.load();
            meter.passes(Gate::CallerRate, rules.rate_of_caller(caller, now))?;
        }
        admin
    }

    /// Passes an admin's request through the gates; returns the key's name.
    pub async fn pass_admin(&self, head: &RequestHead) -> Result<String, Problem> {
        let caller = self.enter(&head.http, RouteClass::Admin, head.started)?;
        let config = self.config.load();
        let checked = admin::check(&config, &head.http, &caller);
        let admin = self.failed_keys.judge(&caller, checked, head.started);
        self.admit_admin(admin, &caller, head.started)
    }

    /// Whether a caller that passed the gates of a public route shows an admin key.
    ///
    /// # Errors
    /// If the key is wrong.
    pub fn shows_admin_key(&self, head: &RequestHead, caller: &Caller) -> Result<bool, Problem> {
        if !admin::key_is_shown(&head.http) {
            return Ok(false);
        }
        let config = self.config.load();
        let checked = admin::check_key(&config, &head.http, caller);
        self.failed_keys.judge_again(caller, checked, head.started).map(|_| true)
    }
}
