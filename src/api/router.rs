//! The table of routes.

use actix_web::http::Method;

use crate::telemetry::Metrics;

use super::endpoint::Endpoint;
use super::{
    blocks, bookings, cache_stats, docs, events, health, pages, sales, seats, updates,
    waiting_room, webhooks,
};

/// Every endpoint of the API.
pub fn endpoints(metrics: &Metrics) -> Vec<Endpoint> {
    let at = |path| Endpoint::at(path, metrics);
    let private = |path| Endpoint::private(path, metrics);
    vec![
        at("/api/v1/events").get(events::list).on(Method::POST, events::create),
        at("/api/v1/events/{event_id}").get(events::get).on(Method::PATCH, events::change),
        at("/api/v1/events/{event_id}/seats").get(seats::map).in_front(),
        at("/api/v1/events/{event_id}/availability").get(seats::availability).in_front(),
        at("/api/v1/events/{event_id}/stream").get(updates::stream::follow),
        at("/ws/events/{event_id}").get(updates::socket::open),
        private("/api/v1/events/{event_id}/sales.csv").get(sales::csv).compressed(),
        private("/api/v1/events/{event_id}/blocks")
            .get(blocks::list)
            .on(Method::POST, blocks::block),
        private("/api/v1/events/{event_id}/blocks/release").on(Method::POST, blocks::release),
        private("/api/v1/bookings").get(bookings::list).on(Method::POST, bookings::hold),
        private("/api/v1/bookings/{booking_id}")
            .get(bookings::get)
            .on(Method::DELETE, bookings::delete),
        private("/api/v1/bookings/{booking_id}/confirm").on(Method::POST, bookings::confirm),
        private("/api/v1/bookings/{booking_id}/pay").on(Method::POST, bookings::pay_alias),
        private("/api/v1/bookings/{booking_id}/extend").on(Method::POST, bookings::extend),
        private("/api/v1/bookings/{booking_id}/cancel").on(Method::POST, bookings::cancel),
        private("/api/v1/events/{event_id}/waiting-room/enable")
            .on(Method::POST, waiting_room::enable),
        private("/api/v1/events/{event_id}/waiting-room/disable")
            .on(Method::POST, waiting_room::disable),
        private("/api/v1/events/{event_id}/waiting-room/join").on(Method::POST, waiting_room::join),
        private("/api/v1/events/{event_id}/waiting-room/leave")
            .on(Method::POST, waiting_room::leave),
        private("/api/v1/events/{event_id}/waiting-room/status").get(waiting_room::status),
        private("/api/v1/events/{event_id}/waiting-room/stats").get(waiting_room::stats),
        at("/api/v1/events/{event_id}/waiting-room/draw").get(waiting_room::draw),
        at("/webhooks/payments").on(Method::POST, webhooks::payments),
        at("/health").get(health::summary),
        at("/health/live").get(health::live),
        at("/health/ready").get(health::ready),
        at("/cache/stats").get(cache_stats::stats),
        at("/api/v1/cache/stats").get(cache_stats::stats_alias),
        at("/metrics").get(pages::metrics),
        at("/openapi.json").get(pages::openapi),
        at("/docs").get(docs::docs),
        at("/docs/{file:.*}").get(docs::docs_file),
        at("/").get(pages::index),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use utoipa::OpenApi;

    use super::*;
    use crate::api::openapi::Document;

    /// Every route is documented, and every documented route is there.
    #[test]
    fn the_router_and_the_document_agree() {
        let endpoints = endpoints(&Metrics::new("test"));
        let routed: BTreeSet<(String, String)> = endpoints
            .iter()
            .flat_map(|endpoint| {
                // The document has plain names where the router has expressions.
                let path = endpoint.path.replace("{file:.*}", "{file}");
                let methods = endpoint.methods.iter();
                methods.map(move |method| (path.clone(), method.to_string().to_lowercase()))
            })
            .collect();
        let document = serde_json::to_value(Document::openapi()).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let documented: BTreeSet<(String, String)> = paths
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().unwrap().keys();
                methods.map(|method| (path.clone(), method.clone()))
            })
            .collect();
        assert_eq!(routed, documented);
    }

    /// Nothing in the document points into the void.
    #[test]
    fn every_reference_resolves() {
        let text = Document::openapi().to_json().unwrap();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        for reference in text.split("\"$ref\":").skip(1) {
            let pointer = reference.split('"').nth(1).unwrap().trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }
}
