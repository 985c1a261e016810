//! Sentinels with a user or a password of their own, with and without TLS.

use std::path::PathBuf;

use holdfast::config::Config;

use crate::support::api::{Api, Place, places};
use crate::support::certificates::Authority;
use crate::support::servers::{
    Flavor, Server, available, free_port, redis_command_as, sentinel, shared_mongodb, state_dir,
};
use crate::support::{eventually, unique_name};

use super::servers::{PASSWORD, PASSWORD_ENCODED, TlsRedis};
use super::{DONE, connect, connected, thread_connections_come_up};

/// The password of the Sentinels' user.
const SENTINEL_PASSWORD: &str = "tr0ub4dor & 3";
const SENTINEL_PASSWORD_ENCODED: &str = "tr0ub4dor%20%26%203";

/// A Redis with a password, and a Sentinel that watches it and has a user of its own.
struct Watched {
    redis: TlsRedis,
    sentinel: Server,
    /// The Sentinel's port for clients.
    port: u16,
}

impl Watched {
    async fn new(is_tls: bool) -> Self {
        let redis = TlsRedis::new(&["redis.example"], true, &["--masterauth", PASSWORD]);
        let (plain, tls) = (free_port(), free_port());
        let folder = state_dir().join(unique_name());
        std::fs::create_dir_all(&folder).unwrap();
        let watched = if is_tls { redis.port } else { redis.server.port() };
        let mut lines = vec![
            format!("port {plain}"),
            "bind 127.0.0.1".to_owned(),
            format!("dir {}", folder.display()),
            format!("sentinel monitor main 127.0.0.1 {watched} 1"),
            format!("sentinel auth-pass main \"{PASSWORD}\""),
            "user default off".to_owned(),
            format!("user ann on \">{SENTINEL_PASSWORD}\" +@all ~* &*"),
        ];
        if is_tls {
            let own = redis.authority.issue(&["redis.example"]);
            lines.extend([
                format!("tls-port {tls}"),
                "tls-replication yes".to_owned(),
                format!("tls-cert-file {}", own.cert),
                format!("tls-key-file {}", own.key),
                format!("tls-ca-cert-file {}", redis.authority.ca()),
            ]);
        }
        let path: PathBuf = folder.join("sentinel.conf");
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
        let sentinel = sentinel(plain, &path);
        let address = format!("127.0.0.1:{plain}");
        let knows = ["SENTINEL", "get-master-addr-by-name", "main"];
        eventually("the sentinel knows the server", DONE, async || {
            redis_command_as(&address, "ann", SENTINEL_PASSWORD, &knows).is_ok_and(|l| l == "*2")
        })
        .await;
        Watched { redis, sentinel, port: if is_tls { tls } else { plain } }
    }

    fn url(&self, scheme: &str, parameters: &str) -> String {
        let port = self.port;
        format!(
            "{scheme}://:{PASSWORD_ENCODED}@127.0.0.1:{port}?sentinelServiceName=main{parameters}"
        )
    }
}

#[tokio::test]
async fn program_logs_in_to_sentinels_with_a_user_of_their_own() {
    if !available(Flavor::Redis) {
        return;
    }
    let watched = Watched::new(false).await;
    let login = format!("&sentinelUsername=ann&sentinelPassword={SENTINEL_PASSWORD_ENCODED}");
    for scheme in ["redis-sentinel", "valkey-sentinel"] {
        let url = watched.url(scheme, &login);
        let place = Place::new(&watched.redis.server, shared_mongodb());
        let api = Api::program(&place, &[("HOLDFAST_REDIS_URL", url.as_str())]).await;
        let event = api.event(places(2)).await;
        api.held("ann", event, &[1]).await;
        thread_connections_come_up(&api).await;
    }
    let config = |parameters: &str| Config {
        redis_url: watched.url("redis-sentinel", parameters).into(),
        ..Config::default()
    };
    for wrong in ["", "&sentinelUsername=ann&sentinelPassword=wrong"] {
        let error = connect(&config(wrong)).await.err().expect("no login").to_string();
        assert!(!error.contains("hunter2") && !error.contains("wrong"), "{error}");
    }
    drop(watched.sentinel);
}

#[tokio::test]
async fn sentinels_and_their_server_are_reached_over_tls() {
    if !available(Flavor::Redis) {
        return;
    }
    let watched = Watched::new(true).await;
    let login = format!("&sentinelUsername=ann&sentinelPassword={SENTINEL_PASSWORD_ENCODED}");
    let mut config = watched.redis.config("rediss");
    config.redis_url = watched.url("rediss-sentinel", &login).into();
    // Sentinels tell the server's address alone.
    config.redis_tls_server_name = "redis.example".into();
    let engine = connected(&config).await;
    engine.ping().await.unwrap();
    engine.close().await;
    config.redis_tls_ca_file = Authority::new().ca().into();
    assert!(connect(&config).await.is_err());
}
