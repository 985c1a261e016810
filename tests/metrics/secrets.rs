//! Certificates and secrets in metrics, and wrong admin keys.

use holdfast::config::Config;
use holdfast::telemetry::Metrics;
use holdfast::{api, start, worker};

use super::*;
use crate::support::certificates::Authority;

/// When certificates of `rcgen` expire unless told otherwise: 4096-01-01, Unix seconds.
const EXPIRY: f64 = 67_090_118_400.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secret_that_was_generated_is_shown() {
    let place = Place::shared();
    let with = Api::here(place.config()).await;
    is(&with, "holdfast_token_secret_generated", 0.0).await;
    let without = Api::here(Config { token_secrets: Vec::new(), ..place.config() }).await;
    is(&without, "holdfast_token_secret_generated", 1.0).await;
    with.stop().await;
    without.stop().await;
}

#[test]
fn expiry_of_each_certificate_file_is_shown_by_both_programs() {
    let authority = Authority::new();
    let pair = authority.issue(&["client"]);
    let (ca, both) = (authority.ca(), pair.both.as_str());
    let url = format!("mongodb://h/?tls=true&tlsCAFile={ca}&tlsCertificateKeyFile={both}");
    let config = Config {
        redis_tls_ca_file: ca.as_str().into(),
        redis_tls_cert_file: pair.cert.as_str().into(),
        mongodb_url: url.as_str().into(),
        ..Config::default()
    };
    for service in [api::SERVICE, worker::SERVICE] {
        let metrics = Metrics::new(service);
        start::show_certificates(&config, &metrics);
        let text = metrics.render();
        for setting in
            ["redis_tls_ca_file", "redis_tls_cert_file", "tlsCAFile", "tlsCertificateKeyFile"]
        {
            let series = format!(
                r#"holdfast_certificate_not_after_timestamp_seconds{{setting="{setting}"}}"#
            );
            assert_eq!(value(&text, &series), Some(EXPIRY), "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_admin_key_is_counted() {
    let keys = format!("ops:{}", "ab".repeat(32));
    let api = Api::program(&Place::shared(), &[("HOLDFAST_ADMIN_KEYS_SHA256", &keys)]).await;
    let wrong = api.get("/api/v1/admin/whoami").header("X-Admin-Key", "no key");
    assert_eq!(wrong.send().await.status, 403);
    is(&api.monitoring(), "holdfast_admin_key_failures_total", 1.0).await;
}
