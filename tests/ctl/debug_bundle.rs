//! `debug-bundle`: complete, and without secrets and personal data.

use std::collections::BTreeMap;
use std::io::Read;

use serde_json::Value;

use super::Shop;
use crate::support::servers::state_dir;
use crate::support::unique_name;

/// The files of a tar.gz, by their names below its folder.
fn files_of(path: &str) -> BTreeMap<String, String> {
    let packed = std::fs::File::open(path).unwrap();
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(packed));
    let entries = tar.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_string_lossy().into_owned();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (name.split_once('/').unwrap().1.to_owned(), text)
    });
    entries.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bundle_has_every_part_and_no_secret_and_no_user() {
    let shop = Shop::any().await;
    let worker = shop.worker().await;
    let event = shop.world.event(4).await;
    let user = "ann-of-the-bundle";
    let id = shop.buy(event, user, &[1]).await;
    shop.archived().await;
    shop.ctl(&format!("bookings cancel {id} --reason secretive --yes")).await.ended(0);
    shop.ctl(&format!("access deny user:{user} --reason r --by ops")).await.ended(0);
    let secrets = [
        ("HOLDFAST_STRIPE_SECRET_KEY", "sk_live_hunter2hunter2"),
        ("HOLDFAST_PAYMENT_WEBHOOK_SECRET", "whsec_hunter3hunter3hunter3hunter3"),
        ("HOLDFAST_TOKEN_SECRETS", "k1:hunter4hunter4hunter4hunter4hunter4"),
        ("HOLDFAST_STRIPE_URL", "https://api.example"),
        ("HOLDFAST_PAYMENT_PROVIDER", "stripe"),
    ];
    let hash = "d7ecdf25eaf3deba0f2628771dbdd22d4138ab6cf38f91ed02a2ca0dec7c8ab7";
    let keys = format!("ops:{hash}");
    let path = state_dir().join(unique_name()).with_extension("tar.gz");
    let path = path.to_str().unwrap();
    let settings: Vec<(&str, &str)> =
        secrets.into_iter().chain([("HOLDFAST_ADMIN_KEYS_SHA256", keys.as_str())]).collect();
    let log = worker.log();
    let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let serving = lines.find(|line| line["message"] == "serving health and metrics").unwrap();
    let address = serving["address"].as_str().unwrap();
    let line = format!("debug-bundle --output {path} --metrics {address} --json");
    let written = shop.ctl_with(&line, &settings).await.json(0);
    assert_eq!(written["missing"], serde_json::json!([]), "{written}");
    let files = files_of(path);
    let all: String = files.values().cloned().collect();
    for name in [
        "README.txt",
        "settings.toml",
        "versions.json",
        "status.txt",
        "lag.json",
        "redis-0.txt",
        "mongodb.json",
        "processes.json",
        "audit.json",
    ] {
        assert!(files.get(name).is_some_and(|text| !text.is_empty()), "{name}: {files:?}");
    }
    let metrics = files.iter().find(|(name, _)| name.starts_with("metrics-")).unwrap();
    assert!(metrics.1.contains("holdfast_build_info"), "{metrics:?}");
    assert!(files["redis-0.txt"].contains("used_memory:") && !all.contains("config_file:"));
    assert!(files["audit.json"].contains("ctl bookings cancel"));
    for hidden in ["hunter2", "hunter3", "hunter4", hash, user, &id.to_string(), "secretive"] {
        assert!(!all.contains(hidden), "{hidden} is in the bundle");
    }
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_had_is_named_inside() {
    let shop = Shop::any().await;
    let path = state_dir().join(unique_name()).with_extension("tar.gz");
    let path = path.to_str().unwrap();
    let away = [
        ("HOLDFAST_REDIS_URL", "redis://:hunter2hunter2@127.0.0.1:1"),
        ("HOLDFAST_MONGODB_URL", "mongodb://ann:hunter3hunter3@127.0.0.1:1"),
        ("HOLDFAST_MONGODB_TIMEOUT_MS", "500"),
    ];
    let line = format!("debug-bundle --output {path} --metrics 127.0.0.1:1");
    shop.ctl_with(&line, &away).await.ended(0);
    let files = files_of(path);
    let readme = &files["README.txt"];
    for missing in ["Redis does not answer", "MongoDB does not answer", "metrics of 127.0.0.1:1"] {
        assert!(readme.contains(missing), "{missing}: {readme}");
    }
    assert!(!files.values().any(|text| text.contains("hunter")), "{files:?}");
}
