//! Redis servers with TLS, and what clients need for them.

use holdfast::config::Config;

use crate::support::certificates::{Authority, Pair};
use crate::support::servers::{Flavor, Server, free_port, private_redis_with, redis_command_as};
use crate::support::unique_name;

/// The user's password on every server here. It must be in no plain text that leaves this machine.
pub const PASSWORD: &str = "hunter2 over the wire";
/// The same in a URL.
pub const PASSWORD_ENCODED: &str = "hunter2%20over%20the%20wire";

/// A Redis that speaks TLS on one port, and to the test itself plainly on another.
pub struct TlsRedis {
    pub server: Server,
    pub port: u16,
    pub authority: Authority,
    /// A client's certificate.
    pub client: Pair,
}

impl TlsRedis {
    /// Its certificate is for these names. Clients need one, too, if `asks`.
    pub fn new(names: &[&str], asks: bool, extra: &[&str]) -> Self {
        let (authority, port) = (Authority::new(), free_port());
        let (own, client) = (authority.issue(names), authority.issue(&["client.example"]));
        let (tls_port, ca) = (port.to_string(), authority.ca());
        let asks = if asks { "yes" } else { "no" };
        let mut arguments = vec![
            "--tls-port",
            &tls_port,
            "--tls-cert-file",
            &own.cert,
            "--tls-key-file",
            &own.key,
            "--tls-ca-cert-file",
            &ca,
            "--tls-auth-clients",
            asks,
            "--requirepass",
            PASSWORD,
        ];
        arguments.extend(extra);
        let server = private_redis_with(Flavor::Redis, &arguments);
        TlsRedis { server, port, authority, client }
    }

    /// Sends it one command, plainly; the first line of its reply.
    pub fn command(&self, words: &[&str]) -> String {
        let address = format!("127.0.0.1:{}", self.server.port());
        redis_command_as(&address, "default", PASSWORD, words).unwrap()
    }

    /// What clients are set to, under a scheme such as `rediss`.
    pub fn config(&self, scheme: &str) -> Config {
        let port = self.port;
        Config {
            redis_url: format!("{scheme}://:{PASSWORD_ENCODED}@127.0.0.1:{port}").into(),
            redis_namespace: unique_name(),
            redis_tls_ca_file: self.authority.ca().into(),
            redis_tls_cert_file: self.client.cert.as_str().into(),
            redis_tls_key_file: self.client.key.as_str().into(),
            ..Config::default()
        }
    }
}
