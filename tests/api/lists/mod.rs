//! Lists over HTTP: pages by cursor, filters, and the cost of listing events.

mod cost;
mod events;
mod parameters;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::http::Client;

/// Reads every page of a list by cursor; `path` has a query with at least the page's size, and `between`
/// runs after each page.
async fn pages(
    api: &Client,
    user: &str,
    path: &str,
    of: &str,
    mut between: impl AsyncFnMut(usize),
) -> Vec<Vec<Value>> {
    let mut pages: Vec<Vec<Value>> = Vec::new();
    let mut cursor = String::new();
    loop {
        let body = api.get(&format!("{path}{cursor}")).user(user).send().await.json(200);
        pages.push(body[of].as_array().unwrap().clone());
        between(pages.len()).await;
        match body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return pages,
        }
        assert!(pages.len() < 1_000, "a list that ends");
    }
}

/// The ids of all pages; each occurs once.
fn ids(pages: &[Vec<Value>]) -> Vec<String> {
    let ids: Vec<String> = pages.iter().flatten().map(|item| item["id"].to_string()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "an item twice: {ids:?}");
    ids
}
