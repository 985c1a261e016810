//! One Redis and a Cluster behind TLS: both programs sell over it.

use crate::support::api::{Api, Place, places};
use crate::support::ctl::holdfastctl;
use crate::support::eventually;
use crate::support::servers::{Flavor, available, shared_mongodb};

use super::servers::{PASSWORD_ENCODED, TlsRedis};
use super::{DONE, connected, thread_connections_come_up};

#[tokio::test]
async fn programs_sell_over_tls_with_a_client_certificate() {
    if !available(Flavor::Redis) {
        return;
    }
    let redis = TlsRedis::new(&["localhost", "127.0.0.1"], true, &[]);
    let port = redis.port;
    let url = format!("rediss://default:{PASSWORD_ENCODED}@localhost:{port}/1");
    let ca = redis.authority.ca();
    let settings = [
        ("HOLDFAST_REDIS_URL", url.as_str()),
        ("HOLDFAST_REDIS_TLS_CA_FILE", &ca),
        ("HOLDFAST_REDIS_TLS_CERT_FILE", &redis.client.cert),
        ("HOLDFAST_REDIS_TLS_KEY_FILE", &redis.client.key),
        ("HOLDFAST_LOG_LEVEL", "trace"),
    ];
    let place = Place::new(&redis.server, shared_mongodb());
    let api = Api::program(&place, &settings).await;
    let worker = place.worker_at_work(&settings).await;
    let event = api.event(places(5)).await;
    let booking = api.held("ann", event, &[1]).await;
    api.act("ann", &booking, "confirm").await;
    eventually("the sale is archived", DONE, async || {
        api.booking("ann", &booking).await.json(200)["status"] == "CONFIRMED"
    })
    .await;
    thread_connections_come_up(&api).await;
    let environment = place.environment(&settings);
    holdfastctl(&["verify"], &environment, "").await.ended(0);
    for process in [api.process(), &worker] {
        assert!(!process.log_text().contains("hunter2"), "the log shows the password");
    }
}

#[tokio::test]
async fn each_scheme_of_tls_connects() {
    if !available(Flavor::Redis) {
        return;
    }
    let redis = TlsRedis::new(&["127.0.0.1"], false, &[]);
    for scheme in ["rediss", "valkeys"] {
        let mut config = redis.config(scheme);
        // This server asks for no certificate.
        config.redis_tls_cert_file = "".into();
        config.redis_tls_key_file = "".into();
        let engine = connected(&config).await;
        engine.ping().await.unwrap();
        engine.close().await;
    }
}

#[tokio::test]
async fn server_name_of_the_settings_is_what_the_certificate_must_be_for() {
    if !available(Flavor::Redis) {
        return;
    }
    let redis = TlsRedis::new(&["redis.example"], true, &[]);
    let mut config = redis.config("rediss");
    config.redis_tls_server_name = "redis.example".into();
    let engine = connected(&config).await;
    engine.ping().await.unwrap();
    engine.close().await;
}

#[tokio::test]
async fn cluster_over_tls_takes_calls() {
    if !available(Flavor::Redis) {
        return;
    }
    let extra = [
        "--cluster-enabled",
        "yes",
        "--tls-cluster",
        "yes",
        "--cluster-announce-ip",
        "127.0.0.1",
        "--cluster-port",
    ];
    let bus = crate::support::servers::free_port().to_string();
    let mut arguments = extra.to_vec();
    arguments.push(&bus);
    let redis = TlsRedis::new(&["redis.example"], true, &arguments);
    redis.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    eventually("the cluster is up", DONE, async || redis.command(&["SET", "ready", "1"]) == "+OK")
        .await;
    for scheme in ["rediss-cluster", "valkeys-cluster"] {
        let mut config = redis.config(scheme);
        // The nodes call each other by address.
        config.redis_tls_server_name = "redis.example".into();
        let engine = connected(&config).await;
        engine.ping().await.unwrap();
        engine.close().await;
    }
}
