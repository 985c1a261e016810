//! The lists in `http::cors` cover what the OpenAPI document and `docs/API.md` describe.

use std::collections::BTreeSet;

use serde_json::Value;
use utoipa::OpenApi;

use crate::api::router::Document;
use crate::http::cors::{METHODS, REQUEST_HEADERS, RESPONSE_HEADERS};

/// Response headers that browsers expose without permission.
const ALWAYS_EXPOSED: [&str; 7] = [
    "cache-control",
    "content-language",
    "content-length",
    "content-type",
    "expires",
    "last-modified",
    "pragma",
];

fn document() -> Value {
    serde_json::from_str(&Document::openapi().to_json().unwrap()).unwrap()
}

/// Every value in a document, at any depth.
fn walk<'a>(value: &'a Value, visit: &mut dyn FnMut(&'a Value)) {
    visit(value);
    match value {
        Value::Array(list) => list.iter().for_each(|one| walk(one, visit)),
        Value::Object(members) => members.values().for_each(|one| walk(one, visit)),
        _ => {}
    }
}

#[test]
fn every_documented_request_header_is_allowed() {
    let document = document();
    let mut documented = BTreeSet::new();
    walk(&document, &mut |value| {
        // Sent by the payment provider's server, never by a page.
        if value["in"] == "header" && value["name"] != "Stripe-Signature" {
            documented.insert(value["name"].as_str().unwrap().to_ascii_lowercase());
        }
    });
    assert!(documented.len() >= 5, "{documented:?}");
    for name in documented {
        assert!(REQUEST_HEADERS.contains(&name.as_str()), "{name}");
    }
}

#[test]
fn every_documented_response_header_is_exposed() {
    let document = document();
    let mut documented = BTreeSet::new();
    walk(&document, &mut |value| {
        if let Some(headers) = value["headers"].as_object() {
            // A problem has a member of this name too.
            let are_of_response = headers.values().all(|header| header["schema"].is_object());
            let names = headers.keys().filter(|_| are_of_response);
            documented.extend(names.map(|name| name.to_ascii_lowercase()));
        }
    });
    assert!(documented.len() >= 5, "{documented:?}");
    for name in documented {
        let is_exposed =
            RESPONSE_HEADERS.contains(&name.as_str()) || ALWAYS_EXPOSED.contains(&name.as_str());
        assert!(is_exposed, "{name}");
    }
}

#[test]
fn every_method_of_a_route_is_allowed() {
    let document = document();
    for path in document["paths"].as_object().unwrap().values() {
        for method in path.as_object().unwrap().keys() {
            let method = method.to_ascii_uppercase();
            assert!(METHODS.contains(&method.as_str()) || method == "PARAMETERS", "{method}");
        }
    }
}

/// `docs/API.md` has request and response headers `Like-This`, in backticks.
#[test]
fn every_header_in_api_md_is_listed() {
    // Set by browsers, proxies and the payment provider, never by pages.
    const NOT_OF_PAGES: [&str; 14] = [
        "user-agent",
        "accept-encoding",
        "origin",
        "host",
        "x-forwarded-for",
        "forwarded",
        "via",
        "x-real-ip",
        "stripe-signature",
        "holdfast-signature",
        "x-content-type-options",
        "x-frame-options",
        "referrer-policy",
        "vary",
    ];
    let text = include_str!("../../docs/API.md");
    let quoted = text.split('`').skip(1).step_by(2);
    let is_name = |text: &&str| {
        let has_form = text.contains('-') || matches!(*text, "Accept" | "Authorization");
        let upper = text.starts_with(|c: char| c.is_ascii_uppercase());
        has_form && upper && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let names: BTreeSet<String> = quoted
        .map(|text| text.split(':').next().unwrap_or(text))
        .filter(is_name)
        .map(str::to_ascii_lowercase)
        .collect();
    assert!(names.len() >= 15, "{names:?}");
    for name in &names {
        let name = name.as_str();
        let is_listed = REQUEST_HEADERS.contains(&name) || RESPONSE_HEADERS.contains(&name);
        let is_exempt = ALWAYS_EXPOSED.contains(&name) || NOT_OF_PAGES.contains(&name);
        assert!(is_listed || is_exempt || name.starts_with("access-control-"), "{name}");
    }
}
