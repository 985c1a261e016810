//! The real programs: neither their logs nor what they say when they cannot start shows a secret.

use std::time::Duration;

use crate::support::api::Place;
use crate::support::process::Process;
use crate::support::servers::state_dir;
use crate::support::unique_name;

const PROGRAMS: [(&str, &[&str]); 3] = [
    (env!("CARGO_BIN_EXE_holdfast-api"), &[]),
    (env!("CARGO_BIN_EXE_holdfast-worker"), &[]),
    (env!("CARGO_BIN_EXE_holdfastctl"), &["verify", "--wait-seconds", "0"]),
];
/// Bound of a refused start.
const REFUSED: Duration = Duration::from_secs(60);
/// A word of every secret here.
const WORD: &str = "hunter2";

/// Starts each program with these settings, and reads everything that it said until it ended.
async fn said(settings: &[(&str, &str)]) -> Vec<String> {
    let mut all = Vec::new();
    for (program, arguments) in PROGRAMS {
        let mut environment = Place::shared().environment(&[
            ("HOLDFAST_LOG_LEVEL", "trace"),
            ("HOLDFAST_MONGODB_TIMEOUT_MS", "500"),
            ("HOLDFAST_START_WAIT_SECONDS", "0"),
            ("HOLDFAST_PAYMENT_PROVIDER", "stripe"),
            ("HOLDFAST_STRIPE_SECRET_KEY", "sk_hunter2"),
            ("HOLDFAST_PAYMENT_WEBHOOK_SECRET", "whsec_hunter2_hunter2_hunter2_hunter2"),
            ("HOLDFAST_TOKEN_SECRETS", "k1:hunter2 hunter2 hunter2 hunter2 hunter2"),
        ]);
        environment
            .extend(settings.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        let process = Process::start_with(program, arguments, &environment);
        let status = process.ended(REFUSED).await;
        assert!(!status.success(), "{program} {settings:?}");
        let said = format!("{}{}", process.error_text(), process.log_text());
        assert!(!said.contains(WORD), "{program} {settings:?} says {said}");
        all.push(process.error_text());
    }
    all
}

#[tokio::test]
async fn start_without_services_shows_no_secret() {
    let nowhere = "127.0.0.1:1";
    for redis in [
        format!("redis://app:{WORD}@{nowhere}"),
        format!("redis-cluster://:{WORD}@{nowhere}?node={nowhere}"),
        format!(
            "redis-sentinel://app:{WORD}@{nowhere}?sentinelServiceName=main\
             &sentinelUsername=ann&sentinelPassword={WORD}"
        ),
        format!("redis+unix://app:{WORD}@socket/no/such.sock"),
    ] {
        // The tool looks at MongoDB first.
        for text in &said(&[("HOLDFAST_REDIS_URL", &redis)]).await[..2] {
            assert!(text.contains("HOLDFAST_REDIS_URL") && text.contains("***"), "{text}");
        }
    }
    let mongodb = format!("mongodb://app:{WORD}@{nowhere}/?tls=true&appName=x");
    for text in said(&[("HOLDFAST_MONGODB_URL", &mongodb)]).await {
        assert!(text.contains("HOLDFAST_MONGODB_URL") && text.contains("***"), "{text}");
    }
}

#[tokio::test]
async fn start_with_a_url_that_cannot_be_read_shows_no_secret() {
    for (name, value) in [
        ("HOLDFAST_REDIS_URL", "redis://app:p@ss:hunter2/rd#1@h"),
        ("HOLDFAST_REDIS_URL", "redis://h?sentinelPassword=hunter2"),
        ("HOLDFAST_MONGODB_URL", "mongodb://app:hun/hunter2@h"),
        ("HOLDFAST_MONGODB_URL", "mongodb://h/?tlsCertificateKeyFilePassword=hunter2"),
        ("HOLDFAST_STRIPE_URL", "https://sk_hunter2@stripe.example"),
        ("HOLDFAST_ADMIN_KEYS_SHA256", "ops:hunter2"),
        ("HOLDFAST_ADMIN_KEYS_SHA256", "hunter2"),
        // printf %s hunter2 | sha256sum: the key is in the place of its name.
        (
            "HOLDFAST_ADMIN_KEYS_SHA256",
            "hunter2:f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7",
        ),
        ("HOLDFAST_PAYMENT_WEBHOOK_SECRET", "hunter2"),
        ("HOLDFAST_TOKEN_SECRETS", "hunter2:short"),
    ] {
        for text in said(&[(name, value)]).await {
            let setting = name.trim_start_matches("HOLDFAST_").to_lowercase();
            assert!(text.to_lowercase().contains(&setting), "{text}");
        }
    }
}

/// A slip in a settings file puts the secret where a name, or nothing, belongs.
#[tokio::test]
async fn slip_in_a_settings_file_shows_no_secret() {
    for line in [
        "stripe_secret_key = \"sk_live_hunter2",
        "stripe_secret_key = sk_live_hunter2",
        "stripe_secret_key \"sk_live_hunter2\"",
        "sk_live_hunter2 = \"\"",
        "sk_live_hunter2",
        "[sk_live_hunter2]",
        "[stripe_secret_key]\nsk_live_hunter2 = 1",
        "admin_keys_sha256 = [\"hunter2\"]",
        "admin_keys_sha256 = [hunter2]",
        "admin_keys_sha256 = [\"hunter2:f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7\"]",
    ] {
        let path = state_dir().join(unique_name()).with_extension("toml");
        std::fs::write(&path, format!("partitions = 8\n{line}\n")).unwrap();
        for (program, arguments) in PROGRAMS {
            let file = [("HOLDFAST_CONFIG".to_owned(), path.to_str().unwrap().to_owned())];
            let process = Process::start_with(program, arguments, &file);
            assert!(!process.ended(REFUSED).await.success(), "{line}");
            let said = format!("{}{}", process.error_text(), process.log_text());
            assert!(!said.contains(WORD) && said.contains("line "), "{line}: {said}");
        }
    }
}
