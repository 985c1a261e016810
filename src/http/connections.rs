//! Limits the open connections of each client. Above `http_connections_per_address_max`, the first
//! request of a connection is answered 429 and the connection closed; above twice as many, a connection
//! is closed at once, unread.
//!
//! Connections of configured proxies, and from this machine where it may name users, are exempt: they
//! carry the requests of many clients. Memory is bounded by the number of open connections.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Extensions;
use prometheus::IntCounter;
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::config::LiveConfig;
use crate::config::values::Auth;
use crate::domain::ClientNetwork;
use crate::telemetry::Metrics;

use super::per_client::PerClient;
use super::problem::{Code, Problem};

/// `Retry-After` of a client with too many connections, seconds: some of them have to end first.
const RETRY_SECONDS: u32 = 1;
/// Above this many times the bound a connection gets no response.
const CLOSED_ABOVE: usize = 2;

/// The open connections of all clients of one server.
pub struct Connections {
    open: PerClient,
    per_client_max: usize,
    stall_timeout: Duration,
    config: LiveConfig,
    answered: IntCounter,
    closed: IntCounter,
}

/// An open connection, counted until it is dropped.
pub struct Connection {
    all: Arc<Connections>,
    client: ClientNetwork,
    /// It was opened above the bound.
    is_over: bool,
}

impl Connections {
    /// No connections.
    pub fn new(live: LiveConfig, metrics: &Metrics) -> Self {
        let config = live.load_full();
        let refused = |how| metrics.connections_refused.with_label_values(&[how]);
        Connections {
            open: PerClient::new(metrics.limiter_entries.with_label_values(&["connections"])),
            per_client_max: config.http_connections_per_address_max,
            stall_timeout: Duration::from_millis(config.http_stall_timeout_ms),
            config: live,
            answered: refused("answered"),
            closed: refused("closed"),
        }
    }

    /// Counts an accepted connection.
    pub fn accepted(self: &Arc<Self>, stream: &TcpStream, extensions: &mut Extensions) {
        set_user_timeout(stream, self.stall_timeout);
        // A connection that is gone already is not counted.
        let Ok(peer) = stream.peer_addr() else { return };
        let Some(connection) = self.enter(peer.ip().to_canonical()) else { return };
        if connection.is_over {
            let open = connection.open_now();
            if open > self.per_client_max.saturating_mul(CLOSED_ABOVE) {
                self.closed.inc();
                // If this fails, it is closed already.
                let _ = SockRef::from(stream).shutdown(std::net::Shutdown::Both);
            }
        }
        extensions.insert(Arc::new(connection));
    }

    /// `None` for exempt clients.
    fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Connection> {
        let config = self.config.load();
        let is_local = config.auth == Auth::Trusted && peer.is_loopback();
        let mut proxies = config.trusted_proxies.iter().chain(&config.identity_proxies);
        if is_local || proxies.any(|network| network.contains(peer)) {
            return None;
        }
        let client = ClientNetwork::of(peer);
        let is_over = self.open.enter(client) > self.per_client_max;
        Some(Connection { all: self.clone(), client, is_over })
    }
}

impl Connection {
    fn open_now(&self) -> usize {
        self.all.open.count(self.client)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.open.leave(self.client);
    }
}

/// Makes the kernel close the connection of a client that acknowledges nothing, or whose machine is gone.
/// The server cannot detect this itself while it has nothing more to write.
#[cfg(target_os = "linux")]
fn set_user_timeout(stream: &TcpStream, timeout: Duration) {
    if let Err(error) = SockRef::from(stream).set_tcp_user_timeout(Some(timeout)) {
        tracing::debug!(%error, "a connection has no TCP user timeout");
    }
}

#[cfg(not(target_os = "linux"))]
fn set_user_timeout(_: &TcpStream, _: Duration) {}

/// The connection of a request, to be counted for longer than HTTP lasts on it; `None` if exempt.
pub fn of(request: &HttpRequest) -> Option<Arc<Connection>> {
    request.conn_data::<Arc<Connection>>().cloned()
}

/// Refuses a request on a connection above the bound, and closes the connection.
pub fn check(request: &HttpRequest) -> Result<(), Problem> {
    let Some(connection) = request.conn_data::<Arc<Connection>>().filter(|one| one.is_over) else {
        return Ok(());
    };
    connection.all.answered.inc();
    let detail = format!(
        "One address may have {} connections; close some, or send more requests over each",
        connection.all.per_client_max
    );
    Err(Problem::new(Code::TooManyConnections, detail).retry_after(RETRY_SECONDS).closing())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn connections(config: Config) -> Arc<Connections> {
        Arc::new(Connections::new((&config).into(), &Metrics::new("test")))
    }

    #[test]
    fn each_client_is_counted_until_its_connections_close() {
        let config = Config { http_connections_per_address_max: 2, ..Config::default() };
        let all = connections(config);
        let enter = |address: &str| all.enter(address.parse().unwrap()).unwrap();
        let kept = [enter("9.9.9.9"), enter("9.9.9.9"), enter("9.9.9.9")];
        assert_eq!(kept.each_ref().map(|one| one.is_over), [false, false, true]);
        // An IPv6 client is a network.
        let sixes = [enter("2001:db8::1"), enter("2001:db8::2"), enter("2001:db8::3")];
        assert_eq!(sixes.each_ref().map(|one| one.is_over), [false, false, true]);
        assert_eq!(all.open.state(), (2, true));
        drop(kept);
        assert!(!enter("9.9.9.9").is_over);
        drop(sixes);
        assert_eq!(all.open.state(), (0, false));
    }

    #[test]
    fn proxies_and_trusted_loopback_are_exempt() {
        let trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        let config = Config { trusted_proxies, ..Config::default() };
        let local = "127.0.0.1".parse().unwrap();
        let all = connections(config.clone());
        assert!(all.enter("10.1.1.1".parse().unwrap()).is_none() && all.enter(local).is_none());
        let all = connections(Config { auth: Auth::Jwt, ..config });
        assert!(all.enter(local).is_some());
    }
}
