//! New certificates on both sides, taken over by a reload.

use crate::reload::{Reloaded, api_with, settings_file};
use crate::support::api::{Place, places};
use crate::support::certificates::{Authority, Pair};
use crate::support::eventually;
use crate::support::servers::{Flavor, available, shared_mongodb};

use super::DONE;
use super::servers::{PASSWORD_ENCODED, TlsRedis};

/// The settings of a client that trusts this authority and shows this certificate.
fn settings(ca: &str, pair: &Pair) -> String {
    let Pair { cert, key, .. } = pair;
    format!(
        "redis_tls_ca_file = {ca:?}\nredis_tls_cert_file = {cert:?}\nredis_tls_key_file = {key:?}\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_another_authority_are_taken_over() {
    if !available(Flavor::Redis) {
        return;
    }
    let redis = TlsRedis::new(&["127.0.0.1"], true, &[]);
    let url = format!("rediss://:{PASSWORD_ENCODED}@127.0.0.1:{}", redis.port);
    let file = settings_file(&settings(&redis.authority.ca(), &redis.client));
    let api = api_with(&Place::at(url, shared_mongodb()), &file).await;
    let running = Reloaded { process: api.process(), file };
    let event = api.event(places(1_000)).await;
    api.held("ann", event, &[1]).await;

    let next = Authority::new();
    let (own, client) = (next.issue(&["127.0.0.1"]), next.issue(&["client.example"]));
    let ca = next.ca();
    let changed = redis.command(&[
        "CONFIG",
        "SET",
        "tls-cert-file",
        &own.cert,
        "tls-key-file",
        &own.key,
        "tls-ca-cert-file",
        &ca,
    ]);
    assert_eq!(changed, "+OK");
    redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    let mut seats = 2..1_000;
    eventually("the old certificates connect no more", DONE, async || {
        api.hold("ann", event, &[seats.next().unwrap()]).await.status == 503
    })
    .await;
    running.adopt(&settings(&ca, &client)).await;
    eventually("the new ones connect", DONE, async || {
        api.hold("ann", event, &[seats.next().unwrap()]).await.status == 201
    })
    .await;
}
