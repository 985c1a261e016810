//! Malformed requests: each is refused with the right 4xx, a code and a remedy, never with a 5xx, and
//! leaves nothing in Redis.

mod bodies;
mod connections;
mod fuzz;
mod requests;

use serde_json::Value;

use crate::support::api::{Api, Place, small_event};
use crate::support::http::Reply;

/// A server whose refusals are compared with its OpenAPI document.
struct Target {
    api: Api,
    document: Value,
    /// An event with seats 1 to 12.
    event: u64,
    /// Ann's hold on seat 12.
    booking: String,
}

/// Refusals of every route, made before the route is known.
const EVERYWHERE: [&str; 2] = ["headers_too_large", "uri_too_long"];

impl Target {
    async fn new(place: &Place) -> Self {
        let config = holdfast::config::Config {
            http_body_timeout_ms: 300,
            confirm_wait_ms: 0,
            ..place.config()
        };
        let api = Api::here(config).await;
        let document = api.get("/openapi.json").send().await.json(200);
        let event = api.event(small_event()).await;
        let held = api.held("ann", event, &[12]).await;
        let booking = held["id"].as_str().unwrap().to_owned();
        Target { api, document, event, booking }
    }

    /// Checks that a route documents this refusal; returns its body.
    #[track_caller]
    fn documented(&self, method: &str, route: &str, reply: &Reply) -> Value {
        let problem = reply.any_problem();
        assert!(reply.status < 500, "{method} {route}: {problem}");
        let error = problem["error"].as_str().expect("any_problem() checks it");
        let responses = &self.document["paths"][route][method.to_lowercase()]["responses"];
        let description = responses[reply.status.to_string()]["description"].as_str();
        let is_documented = description.is_some_and(|text| text.contains(&format!("`{error}`")));
        assert!(
            is_documented || EVERYWHERE.contains(&error),
            "{method} {route} does not document {error}"
        );
        problem
    }
}
