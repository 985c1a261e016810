//! What must not connect: and no password leaves in plain text.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use holdfast::config::Config;
use holdfast::start;

use crate::support::api::Place;
use crate::support::certificates::Authority;
use crate::support::eventually;
use crate::support::process::Process;
use crate::support::servers::{Flavor, available, shared_redis};

use super::servers::{PASSWORD, PASSWORD_ENCODED, TlsRedis};
use super::{DONE, REFUSED, connect};

/// The first byte of a TLS record with a handshake.
const HANDSHAKE: u8 = 0x16;

/// Takes connections, keeps what they send, and answers nothing.
fn recorder() -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard: Arc<Mutex<Vec<u8>>> = Arc::default();
    let all = heard.clone();
    let keep = |mut client: TcpStream, heard: Arc<Mutex<Vec<u8>>>| {
        let _ = client.set_read_timeout(Some(Duration::from_secs(5)));
        let mut buffer = [0; 4096];
        while let Ok(bytes @ 1..) = client.read(&mut buffer) {
            heard.lock().unwrap().extend_from_slice(&buffer[..bytes]);
        }
    };
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let all = all.clone();
            thread::spawn(move || keep(client, all));
        }
    });
    (port, heard)
}

/// What the URL's schemes with TLS are, as the settings write them.
fn urls(port: u16) -> Vec<String> {
    let address = format!("app:{PASSWORD_ENCODED}@127.0.0.1:{port}");
    let sentinel = format!("?sentinelServiceName=main&sentinelPassword={PASSWORD_ENCODED}");
    let mut urls = Vec::new();
    for name in ["rediss", "valkeys"] {
        urls.push(format!("{name}://{address}"));
        urls.push(format!("{name}-cluster://{address}"));
        urls.push(format!("{name}-sentinel://{address}{sentinel}"));
    }
    urls
}

/// A change of settings.
type Change<'a> = &'a dyn Fn(&mut Config);

#[tokio::test]
async fn password_is_never_sent_in_plain_text() {
    for url in urls(0) {
        let (port, heard) = recorder();
        let config = Config {
            redis_url: url.replace(":0", &format!(":{port}")).into(),
            ..Config::default()
        };
        assert!(connect(&config).await.is_err(), "{url}");
        eventually("a client came", DONE, async || !heard.lock().unwrap().is_empty()).await;
        let heard = heard.lock().unwrap();
        assert_eq!(heard[0], HANDSHAKE, "{url}");
        let is_in = |word: &str| heard.windows(word.len()).any(|window| window == word.as_bytes());
        assert!(!is_in(PASSWORD) && !is_in("hunter2") && !is_in("AUTH"), "{url}");
    }
}

#[tokio::test]
async fn plain_server_behind_a_scheme_of_tls_is_refused() {
    let flavor = if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey };
    for url in urls(shared_redis(flavor).port()) {
        let config = Config { redis_url: url.as_str().into(), ..Config::default() };
        assert!(connect(&config).await.is_err(), "{url}");
    }
}

#[tokio::test]
async fn certificate_that_is_not_the_right_one_is_refused() {
    if !available(Flavor::Redis) {
        return;
    }
    let redis = TlsRedis::new(&["redis.example"], true, &[]);
    let sound = Config { redis_tls_server_name: "redis.example".into(), ..redis.config("rediss") };
    let other = Authority::new();
    let stranger = other.issue(&["client.example"]);
    let changes: [(&str, Change<'_>, &str); 6] = [
        ("the host's name", &|c| c.redis_tls_server_name.clear(), "NotValidForName"),
        ("another name", &|c| c.redis_tls_server_name = "h.example".into(), "NotValidForName"),
        ("another authority", &|c| c.redis_tls_ca_file = other.ca().into(), "InvalidCertificate"),
        ("public authorities", &|c| c.redis_tls_ca_file = "".into(), "UnknownIssuer"),
        (
            "no client certificate",
            &|c| (c.redis_tls_cert_file, c.redis_tls_key_file) = Default::default(),
            "",
        ),
        (
            "a client certificate of another authority",
            &|c| {
                c.redis_tls_cert_file = stranger.cert.as_str().into();
                c.redis_tls_key_file = stranger.key.as_str().into();
            },
            "",
        ),
    ];
    for (what, change, expected) in changes {
        let mut config = sound.clone();
        change(&mut config);
        let error = connect(&config).await.err().unwrap_or_else(|| panic!("{what} connects"));
        let error = error.to_string();
        assert!(error.contains(expected) && !error.contains("hunter2"), "{what}: {error}");
    }
    super::connected(&sound).await.close().await;
}

#[tokio::test]
async fn file_that_cannot_be_used_is_named_at_start() {
    let authority = Authority::new();
    let (one, two) = (authority.issue(&["a.example"]), authority.issue(&["b.example"]));
    let sound = Config {
        redis_url: "rediss://127.0.0.1:1".into(),
        redis_tls_ca_file: authority.ca().into(),
        redis_tls_cert_file: one.cert.as_str().into(),
        redis_tls_key_file: one.key.as_str().into(),
        ..Config::default()
    };
    start::redis_settings(&sound).unwrap();
    let cases: [(Change<'_>, &str); 5] = [
        (
            &|c| c.redis_tls_ca_file = "/no/ca.pem".into(),
            "redis_tls_ca_file: /no/ca.pem: cannot be read",
        ),
        (&|c| c.redis_tls_ca_file = one.key.as_str().into(), "holds no certificate"),
        (&|c| c.redis_tls_cert_file = one.key.as_str().into(), "redis_tls_cert_file"),
        (&|c| c.redis_tls_key_file = one.cert.as_str().into(), "is no private key in PEM"),
        (&|c| c.redis_tls_key_file = two.key.as_str().into(), "does not fit the certificate"),
    ];
    for (change, expected) in cases {
        let mut config = sound.clone();
        change(&mut config);
        let error = start::redis_settings(&config).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[tokio::test]
async fn programs_refuse_to_start_with_settings_that_have_no_effect() {
    let place = Place::shared();
    for (setting, value, expected) in [
        ("HOLDFAST_REDIS_TLS_CA_FILE", "/etc/ca.pem", "redis_tls_* are set"),
        ("HOLDFAST_REDIS_URL", "redis-cluster://h/1", "no database but 0"),
        ("HOLDFAST_REDIS_URL", "redis://h?tls=true", "unknown"),
        ("HOLDFAST_REDIS_URL", "rediss+unix:///run/redis.sock", "must begin with"),
        ("HOLDFAST_MONGODB_URL", "mongodb://h/?w=1", "w can only be majority"),
        ("HOLDFAST_LOG_LEVEL", "loud", "log_level = "),
        ("HOLDFAST_LOG_LEVEL", "debgu", "did you mean debug?"),
    ] {
        for program in [env!("CARGO_BIN_EXE_holdfast-api"), env!("CARGO_BIN_EXE_holdfast-worker")] {
            let process = Process::start(program, &place.environment(&[(setting, value)]));
            assert!(!process.ended(REFUSED).await.success());
            let said = process.error_text();
            assert!(said.contains(expected) && said.lines().count() == 1, "{value}: {said}");
        }
    }
}
