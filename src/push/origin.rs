//! Whose pages may open WebSockets. Browsers let any page connect to any server, and say which page
//! it is; so the server has to look.

use actix_web::http::header::{HOST, ORIGIN};

use crate::api::state::RequestContext;
use crate::http::cors;
use crate::http::origin::is_same;
use crate::http::problem::{Code, Problem};

/// Lets pass what is no page, the server's own pages, and those of `cors_origins`.
///
/// # Errors
/// For all others.
pub fn check(context: &RequestContext) -> Result<(), Problem> {
    let headers = context.http.headers();
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let is_known = |origin: &str| {
        host.is_some_and(|host| is_same(origin, host))
            || cors::allows_origin(&context.state.config, origin)
    };
    // What is no text is no origin that anybody named.
    if origin.to_str().is_ok_and(is_known) {
        return Ok(());
    }
    context.state.sockets.refused("origin");
    let detail =
        "Pages of this site may not connect; the setting cors_origins names those that may";
    Err(Problem::new(Code::OriginForbidden, detail))
}
