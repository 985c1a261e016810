//! Identification: tokens, and sources trusted without one.

use std::fs;

use holdfast::config::Config;
use holdfast::config::values::{Auth, JwtAlgorithm};
use holdfast::telemetry::Metrics;
use holdfast::{api, start};
use serde_json::{Value, json};

use crate::support::api::{Api, Place, places};
use crate::support::http::{Client, Reply};
use crate::support::tokens::{
    AUDIENCE, ISSUER, OTHER_RSA, OTHER_SECRET, RSA, SECRET, base64url, claims, claims_but, hs256,
    key_file, message, now_seconds, rs256, secret_file, token, with_mac,
};

fn with_tokens(algorithm: JwtAlgorithm, files: Vec<String>) -> Config {
    Config {
        auth: Auth::Jwt,
        jwt_algorithm: algorithm,
        jwt_key_files: files.into_iter().map(Into::into).collect(),
        jwt_audience: AUDIENCE.into(),
        jwt_issuer: ISSUER.into(),
        ..Place::shared().config()
    }
}

async fn list(api: &Client, token: &str) -> Reply {
    api.get("/api/v1/bookings").token(token).send().await
}

#[tokio::test]
async fn subject_of_a_token_is_the_user() {
    let config = with_tokens(JwtAlgorithm::Hs256, vec![secret_file(SECRET)]);
    let api = Api::here(config).await;
    let event = api.event(places(4)).await;
    let body = json!({ "event_id": event, "seat_ids": [1] });
    let ask = api.post("/api/v1/bookings").token(&token("ann")).json(body);
    let held = ask.send().await.json(201);
    assert_eq!(held["user_id"], "ann");
    let path = format!("/api/v1/bookings/{}", held["id"].as_str().unwrap());
    // Twice: the second time the token is cached.
    for _ in 0..2 {
        assert_eq!(api.get(&path).token(&token("ann")).send().await.json(200)["id"], held["id"]);
        api.get(&path).token(&token("bob")).send().await.problem(404, "booking_unknown");
    }
    // Nothing else names a user.
    for ask in [api.get(&path).user("ann"), api.get(&format!("{path}?user_id=ann"))] {
        let refused = ask.send().await;
        refused.problem(401, "identity_missing");
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    }
    let contradicts = api.get(&path).token(&token("bob"));
    contradicts.user("ann").send().await.problem(400, "identity_conflict");
    api.get(&path).token(&token("ann")).user("ann").send().await.json(200);
    // Public routes need no token, but refuse a wrong one.
    api.get("/api/v1/events").send().await.json(200);
    api.get("/api/v1/events").token("x").send().await.problem(401, "token_invalid");
    api.stop().await;
}

#[tokio::test]
async fn token_is_accepted_in_every_valid_form() {
    let config = with_tokens(JwtAlgorithm::Hs256, vec![secret_file(SECRET)]);
    let api = Api::here(config).await;
    let good = [
        claims_but("ann", "aud", json!(["other", AUDIENCE])),
        claims_but("ann", "sub", json!(17)),
        claims_but("ann", "exp", json!(now_seconds() as f64 + 60.5)),
        claims_but("ann", "nbf", json!(now_seconds())),
        // Clocks differ a little.
        claims_but("ann", "exp", json!(now_seconds() - 5)),
        claims_but("ann", "nbf", json!(now_seconds() + 5)),
        claims_but("ann", "name", json!("Ann")),
    ];
    for claims in good {
        let reply = list(&api, &hs256(SECRET, &claims)).await;
        assert_eq!(reply.status, 200, "{claims}: {}", reply.text());
    }
    for scheme in ["bearer", "BEARER", "Bearer "] {
        let value = format!("{scheme} {}", token("ann"));
        api.get("/api/v1/bookings").header("Authorization", &value).send().await.json(200);
    }
    // Another scheme is no token.
    let basic = api.get("/api/v1/bookings").header("Authorization", "Basic YTpi");
    basic.send().await.problem(401, "identity_missing");
    api.stop().await;
}

/// Invalid tokens under a shared secret, each with its code and words of its detail.
fn forged_hs256() -> Vec<(&'static str, String, &'static str, &'static str)> {
    let head = |alg: &str| json!({ "alg": alg, "typ": "JWT" });
    let good = token("ann");
    let (unsigned, signature) = good.rsplit_once('.').unwrap();
    let payload = base64url(claims("eve").to_string().as_bytes());
    let tampered = format!("{}.{payload}.{signature}", good.split('.').next().unwrap());
    let claim = |name: &str, value: Value| hs256(SECRET, &claims_but("ann", name, value));
    let (invalid, expired) = ("token_invalid", "token_expired");
    let unverified = "cannot be verified";
    let none = |alg: &str| format!("{}.", message(&head(alg), &claims("ann")));
    let crit = json!({ "alg": "HS256", "crit": ["exp"], "typ": "JWT" });
    let past = json!(now_seconds() - 120);
    vec![
        ("no algorithm", none("none"), invalid, unverified),
        ("no algorithm, shouted", none("NONE"), invalid, unverified),
        (
            "no algorithm, yet signed",
            with_mac(SECRET, &message(&head("none"), &claims("ann"))),
            invalid,
            unverified,
        ),
        ("another's secret", hs256(OTHER_SECRET, &claims("ann")), invalid, unverified),
        ("an empty secret", hs256(b"", &claims("ann")), invalid, unverified),
        (
            "another algorithm of the family",
            with_mac(SECRET, &message(&head("HS512"), &claims("ann"))),
            invalid,
            unverified,
        ),
        ("another family", rs256(RSA, &claims("ann")), invalid, unverified),
        ("claims changed", tampered, invalid, unverified),
        ("no signature", format!("{unsigned}."), invalid, unverified),
        ("two parts", unsigned.to_owned(), invalid, unverified),
        ("four parts", format!("{good}.x"), invalid, unverified),
        ("the signature cut", good[..good.len() - 1].to_owned(), invalid, unverified),
        (
            "an extension we do not know",
            with_mac(SECRET, &message(&crit, &claims("ann"))),
            invalid,
            unverified,
        ),
        ("not base64", "a b.c.d".to_owned(), invalid, unverified),
        ("nothing", String::new(), invalid, unverified),
        ("dots", "..".to_owned(), invalid, unverified),
        ("huge", claim("fill", json!("x".repeat(9_000))), invalid, "8192 are allowed"),
        ("expired", claim("exp", past), expired, "refresh it"),
        ("never expires", claim("exp", Value::Null), invalid, "`exp`"),
        ("expires on a day", claim("exp", json!("tomorrow")), invalid, "`exp`"),
        ("expired before 1970", claim("exp", json!(-1)), invalid, "`exp`"),
        ("not yet", claim("nbf", json!(now_seconds() + 300)), invalid, "not valid yet"),
        ("another audience", claim("aud", json!("shop")), invalid, "another audience"),
        ("other audiences", claim("aud", json!(["shop", "bank"])), invalid, "another audience"),
        ("no audience", claim("aud", Value::Null), invalid, "`aud`"),
        ("another issuer", claim("iss", json!("https://evil.example")), invalid, "another issuer"),
        ("no issuer", claim("iss", Value::Null), invalid, "`iss`"),
        ("nobody", claim("sub", Value::Null), invalid, "`sub`"),
        ("an empty user", claim("sub", json!("")), invalid, "`sub`"),
        ("a user of too many bytes", claim("sub", json!("a".repeat(1_000))), invalid, "`sub`"),
        ("a user with a line's end", claim("sub", json!("ann\n")), invalid, "`sub`"),
    ]
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let config = with_tokens(JwtAlgorithm::Hs256, vec![secret_file(SECRET)]);
    let api = Api::here(config).await;
    for (what, token, error, words) in forged_hs256() {
        // Twice: a refused token is not cached as valid.
        for _ in 0..2 {
            let refused = list(&api, &token).await;
            assert_eq!(refused.status, 401, "{what}: {}", refused.text());
            let body = refused.problem(401, error);
            assert!(body["detail"].as_str().unwrap().contains(words), "{what}: {body}");
            let challenge = refused.header("www-authenticate").unwrap();
            assert_eq!(challenge, "Bearer error=\"invalid_token\"", "{what}");
        }
    }
    let two = api.get("/api/v1/bookings").token(&token("ann")).token(&token("bob"));
    let body = two.send().await.problem(401, "token_invalid");
    assert!(body["detail"].as_str().unwrap().contains("two Authorization headers"), "{body}");
    list(&api, &token("ann")).await.json(200);
    api.stop().await;
}

#[tokio::test]
async fn public_key_verifies_and_is_no_secret() {
    let file = key_file("rs256-public.pem");
    let api = Api::here(with_tokens(JwtAlgorithm::Rs256, vec![file.clone()])).await;
    list(&api, &rs256(RSA, &claims("ann"))).await.json(200);
    let pem = fs::read(&file).unwrap();
    let der_line_ends = fs::read_to_string(&file).unwrap().trim_end().as_bytes().to_vec();
    let rs256_head = json!({ "alg": "RS256", "typ": "JWT" });
    let forged = [
        // Key confusion: a token signed with the public key as the secret.
        ("the public key as a secret", hs256(&pem, &claims("eve"))),
        ("the same without the line's end", hs256(&der_line_ends, &claims("eve"))),
        ("under the right algorithm's name", with_mac(&pem, &message(&rs256_head, &claims("eve")))),
        ("another's key", rs256(OTHER_RSA, &claims("eve"))),
        ("no algorithm", format!("{}.", message(&json!({ "alg": "none" }), &claims("eve")))),
        ("no signature", format!("{}.", message(&rs256_head, &claims("eve")))),
        ("zeros", format!("{}.{}", message(&rs256_head, &claims("eve")), base64url(&[0; 256]))),
    ];
    for (what, token) in forged {
        let refused = list(&api, &token).await;
        assert_eq!(refused.status, 401, "{what}: {}", refused.text());
        refused.problem(401, "token_invalid");
    }
    let expired = rs256(RSA, &claims_but("ann", "exp", json!(now_seconds() - 120)));
    list(&api, &expired).await.problem(401, "token_expired");
    api.stop().await;
}

#[tokio::test]
async fn keys_rotate_without_invalidating_tokens() {
    let secrets = vec![secret_file(OTHER_SECRET), secret_file(SECRET)];
    let api = Api::here(with_tokens(JwtAlgorithm::Hs256, secrets)).await;
    for secret in [SECRET, OTHER_SECRET] {
        list(&api, &hs256(secret, &claims("ann"))).await.json(200);
        // The error does not depend on the key that signed the token.
        let expired = hs256(secret, &claims_but("ann", "exp", json!(now_seconds() - 120)));
        list(&api, &expired).await.problem(401, "token_expired");
    }
    api.stop().await;
    let files = vec![key_file("rs256-public.pem"), key_file("other-public.pem")];
    let api = Api::here(with_tokens(JwtAlgorithm::Rs256, files)).await;
    for private in [RSA, OTHER_RSA] {
        list(&api, &rs256(private, &claims("ann"))).await.json(200);
    }
    api.stop().await;
}

#[tokio::test]
async fn invalid_key_file_is_reported_at_start() {
    use JwtAlgorithm::{Hs256, Rs256};
    let cases = [
        (Hs256, "/no/such/file".to_owned(), "cannot be read"),
        (Hs256, secret_file(b"short"), "has 5 bytes"),
        (Hs256, key_file("rs256-public.pem"), "jwt_algorithm = \"RS256\""),
        (Rs256, secret_file(SECRET), "is no RSA public key"),
        (Rs256, key_file("rs256-private.der"), "is no RSA public key"),
        (Rs256, key_file("short-public.pem"), "2,048"),
        (Rs256, secret_file(b"-----BEGIN PRIVATE KEY-----\n"), "is a private key"),
        (Rs256, secret_file(b"-----BEGIN PUBLIC KEY-----\nx\n"), "is no RSA public key"),
    ];
    let place = Place::shared();
    let metrics = Metrics::new("test");
    let mut services = start::connect(&place.config(), &metrics).await.unwrap();
    let (_trigger, shutdown) = holdfast::lifecycle::shutdown_channel();
    for (algorithm, file, expected) in cases {
        let config = std::sync::Arc::new(with_tokens(algorithm, vec![file.clone()]));
        services.reloads = holdfast::start::Reloads::new(&config);
        let error = api::start_gates(&services, &config, &metrics, &shutdown).await.err().unwrap();
        let text = error.to_string();
        assert!(text.starts_with(&format!("jwt_key_files: {file}: ")), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}
