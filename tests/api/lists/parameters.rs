//! Every route refuses unknown query parameters.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::api::{places, shared_api};

/// Routes with any query parameters: probes, scrapers, payment providers and
/// browsers add their own.
const LENIENT: [&str; 17] = [
    "/",
    "/events/{event_id}",
    "/console",
    "/console/{page}",
    "/assets/{file}",
    "/favicon.svg",
    "/theme.js",
    "/docs",
    "/docs/{file}",
    "/openapi.json",
    "/metrics",
    "/health",
    "/health/live",
    "/health/ready",
    "/webhooks/payments",
    "/cache/stats",
    "/api/v1/cache/stats",
];

#[tokio::test]
async fn unknown_query_parameters_are_refused_by_every_route() {
    let api = shared_api().await;
    let event = api.event(places(3)).await;
    let booking = api.held("ann", event, &[1]).await;
    let document = api.get("/openapi.json").send().await.json(200);
    let mut requests = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        if LENIENT.contains(&path.as_str()) {
            continue;
        }
        let at = path
            .replace("{event_id}", &event.to_string())
            .replace("{booking_id}", booking["id"].as_str().unwrap());
        for (method, operation) in item.as_object().unwrap() {
            let method = method.to_uppercase().parse().unwrap();
            let ask = api.ask(method, &format!("{at}?pagesize=5")).user("ann");
            let problem = ask.send().await.problem(400, "invalid_parameter");
            assert_eq!(problem["parameter"], "pagesize", "{path}");
            let detail = problem["detail"].as_str().unwrap();
            for name in query_parameters(operation) {
                assert!(detail.contains(&name), "{path} {name}: {detail}");
            }
            requests += 1;
        }
    }
    assert!(requests >= 20, "{requests} routes");
    // `user_id` is a parameter of every route.
    let path = format!("/api/v1/events/{event}/seats?user_id=ann&section=Floor");
    api.get(&path).send().await.json(200);
    api.get("/health?probe=1").send().await.json(200);
}

fn query_parameters(operation: &Value) -> BTreeSet<String> {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let named = parameters.filter(|one| one["in"] == "query");
    named.map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}
