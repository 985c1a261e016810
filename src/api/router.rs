//! The table of routes. A route is declared once, by its handler in the list below: its method, path,
//! parameters and responses are those of the handler's `#[utoipa::path]`, which also describes it in
//! `/openapi.json`.

use actix_web::dev::Service as _;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderValue};
use actix_web::middleware::Compress;
use actix_web::web::{Payload, ServiceConfig};
use actix_web::{Resource, guard, web as actix};
use utoipa::OpenApi;

use crate::http::problem::{Code, Problem};
use crate::http::{cors, headers, words};
use crate::push;
use crate::telemetry::Metrics;

use super::admin::{
    access, audit, booking_details, checks, dead_letters, event_bookings, event_log, limits,
    overview, report, rooms, search, whoami,
};
use super::endpoint::{Options, Route, Service, refusing, route_unknown};
use super::openapi::{Identification, ProblemBody};
use super::state::RequestContext;
use super::updates::{socket, stream, ticket};
use super::{
    blocks, bookings, cache_stats, docs, events, health, pages, sales, seats, waiting_room, web,
    webhooks,
};

/// Makes `routes` and [`Document`] of one list: handlers, each with options of [`Options`] that are set.
macro_rules! routes {
    ($($module:ident :: $handler:ident $(: $($option:ident)+)?;)+) => {
        /// All routes, for one HTTP thread.
        pub fn routes(metrics: &Metrics) -> Vec<Route> {
            pastey::paste! {
                vec![$({
                    let options = Options { $($($option: true,)+)? ..Options::default() };
                    Route::new::<$module::[<__path_ $handler>], _, _>($module::$handler, options, metrics)
                }),+]
            }
        }

        /// The OpenAPI document.
        #[derive(OpenApi)]
        #[openapi(
            info(
                title = "Holdfast",
                description = "An admission engine for flash sales. Amounts are integers in the \
                    currency's minor unit, times are ISO 8601 in UTC. Every error is \
                    `application/problem+json`; compare its `error`, show its `detail`.",
                contact(name = "Holdfast"),
            ),
            servers((url = "/", description = "This server")),
            modifiers(&Identification),
            paths($($module::$handler),+),
            components(schemas(
                ProblemBody, events::SectionSpec, events::RowSpec, push::Message,
                push::ClientMessage, words::SaleOutcome
            )),
            tags(
                (name = "events", description = "What is on sale, and what is free"),
                (name = "bookings", description = "Hold, pay, extend, cancel"),
                (name = "waiting room", description = "Wait in line, or in a draw"),
                (name = "admin", description = "What operators watch and do"),
                (name = "operations", description = "Health, metrics, this document"),
                (name = "pages", description = "Pages for people, with a browser"),
            ),
        )]
        pub struct Document;
    };
}

routes! {
    events::list;
    events::create;
    events::get;
    events::change;
    seats::map: is_fast;
    seats::availability: is_fast;
    stream::follow;
    socket::open;
    ticket::issue: is_private;
    sales::csv: is_private is_compressed;
    blocks::list: is_private;
    blocks::block: is_private;
    blocks::release: is_private;
    bookings::list: is_private;
    bookings::hold: is_private;
    bookings::get: is_private;
    bookings::delete: is_private;
    bookings::confirm: is_private;
    bookings::pay_alias: is_private;
    bookings::extend: is_private;
    bookings::cancel: is_private;
    waiting_room::enable: is_private;
    waiting_room::disable: is_private;
    waiting_room::join: is_private;
    waiting_room::leave: is_private;
    waiting_room::status: is_private;
    waiting_room::stats: is_private;
    waiting_room::draw;
    whoami::show: is_private;
    overview::show: is_private;
    event_bookings::list: is_private;
    search::find: is_private;
    booking_details::get: is_private;
    event_log::follow: is_private;
    report::show: is_private;
    report::demand: is_private is_compressed;
    checks::verify: is_private;
    checks::reconcile: is_private;
    limits::show: is_private;
    limits::change: is_private;
    access::list: is_private;
    dead_letters::list: is_private;
    dead_letters::replay: is_private;
    audit::list: is_private;
    rooms::list: is_private;
    webhooks::payments: takes_any_query;
    health::summary: takes_any_query;
    health::live: takes_any_query;
    health::ready: takes_any_query;
    cache_stats::stats: takes_any_query;
    cache_stats::stats_alias: takes_any_query;
    pages::metrics: takes_any_query;
    pages::openapi: takes_any_query is_compressed;
    docs::docs: takes_any_query;
    docs::docs_file: takes_any_query takes_rest_of_path;
    web::index: takes_any_query;
    web::event: takes_any_query;
    web::console: takes_any_query;
    web::console_page: takes_any_query takes_rest_of_path;
    web::asset: takes_any_query;
    web::icon: takes_any_query;
    web::theme: takes_any_query;
}

/// Adds routes to a server, one resource for each path. Methods that a path does not have are
/// answered 405.
pub fn register(mut routes: Vec<Route>, metrics: &Metrics, server: &mut ServiceConfig) {
    while let Some(first) = routes.first() {
        let path = first.path.clone();
        let (same, others) = routes.into_iter().partition(|route| route.path == path);
        routes = others;
        let same: Vec<Route> = same;
        let is_compressed = same.iter().any(|route| route.options.is_compressed);
        let resource = resource(&path, &same, metrics);
        if is_compressed {
            let resource = resource.wrap(Compress::default()).wrap_fn(|mut request, inner| {
                headers::accept_gzip_or_nothing(request.headers_mut());
                inner.call(request)
            });
            server.service(resource);
        } else {
            server.service(resource);
        }
    }
}

fn resource(path: &str, routes: &[Route], metrics: &Metrics) -> Resource {
    let mut resource = actix::resource(path);
    for route in routes {
        let by_method = match route.method {
            Method::GET => actix::route().guard(guard::Any(guard::Get()).or(guard::Head())),
            _ => actix::method(route.method.clone()),
        };
        resource = resource.route(served_by(by_method, route.service.clone()));
    }
    let mut methods: Vec<&str> = routes.iter().map(|route| route.method.as_str()).collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    let allowed = methods.join(", ");
    let is_private = routes.iter().any(|route| route.options.is_private);
    let refuse = move |context: &RequestContext| method_not_allowed(context, &allowed);
    resource.default_service(served_by(actix::route(), refusing(metrics, path, is_private, refuse)))
}

fn served_by(route: actix_web::Route, service: Service) -> actix_web::Route {
    route.to(move |context: RequestContext, payload: Payload| service(context, payload))
}

/// Answers paths that no route has.
pub fn unmatched(metrics: &Metrics) -> actix_web::Route {
    served_by(actix::route(), refusing(metrics, "unmatched", false, route_unknown))
}

fn method_not_allowed(context: &RequestContext, allowed: &str) -> Problem {
    let method = context.http.method();
    let mut detail = format!("{method} is not a method of this route; use {allowed}");
    if cors::is_preflight(&context.http) {
        detail = format!("{detail}. {}", cors::no_site_is_allowed(&context.http));
    }
    let problem = Problem::new(Code::MethodNotAllowed, detail);
    match HeaderValue::from_str(allowed) {
        Ok(allow) => problem.with_header(header::ALLOW, allow),
        // Names of methods are valid header text.
        Err(_) => problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_of_the_document_resolves() {
        let text = Document::openapi().to_json().unwrap();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        for reference in text.split("\"$ref\":").skip(1) {
            let pointer = reference.split('"').nth(1).unwrap().trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }

    #[test]
    fn each_route_has_its_own_method_and_path() {
        let routes = routes(&Metrics::new("test"));
        let mut seen = std::collections::BTreeSet::new();
        for route in &routes {
            assert!(seen.insert((route.path.clone(), route.method.to_string())), "{}", route.path);
        }
        let strict = |route: &&Route| !route.options.takes_any_query;
        for route in routes.iter().filter(strict) {
            let is_ours = route.path.starts_with("/api/v1/") || route.path.starts_with("/ws/");
            assert!(is_ours, "{}", route.path);
        }
    }
}
