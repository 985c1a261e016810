//! How many connections a client has open. Above `http_connections_per_address_max` a connection
//! is told so and closed with its first request; above twice as many it is closed at once, unread.
//!
//! Configured proxies ask for many clients, and so does whoever may name users from this
//! machine: they are not counted. What is kept is bounded by the connections that are open.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Extensions;
use prometheus::IntCounter;
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::config::Config;
use crate::config::values::{Auth, Network};
use crate::domain::ClientNetwork;
use crate::telemetry::Metrics;

use super::per_client::PerClient;
use super::problem::{Code, Problem};

/// When a client that has too many may try again, seconds: some of its own have to end first.
const RETRY_SECONDS: u32 = 1;
/// Above this many times the bound there is no answer any more.
const CLOSED_ABOVE: usize = 2;

/// The open connections of all clients of one server.
pub struct Connections {
    open: PerClient,
    per_client_max: usize,
    stall_timeout: Duration,
    /// Of `trusted_proxies` and `identity_proxies`.
    proxies: Vec<Network>,
    loopback_is_exempt: bool,
    answered: IntCounter,
    closed: IntCounter,
}

/// An open connection; counts while it lives.
pub struct Connection {
    all: Arc<Connections>,
    client: ClientNetwork,
    /// There are too many already.
    is_over: bool,
}

impl Connections {
    /// None are open yet.
    pub fn new(config: &Config, metrics: &Metrics) -> Self {
        let refused = |how| metrics.connections_refused.with_label_values(&[how]);
        Connections {
            open: PerClient::new(metrics.limiter_entries.with_label_values(&["connections"])),
            per_client_max: config.http_connections_per_address_max,
            stall_timeout: Duration::from_millis(config.http_stall_timeout_ms),
            proxies: [&config.trusted_proxies[..], &config.identity_proxies].concat(),
            loopback_is_exempt: config.auth == Auth::Trusted,
            answered: refused("answered"),
            closed: refused("closed"),
        }
    }

    /// Counts a connection that was accepted.
    pub fn accepted(self: &Arc<Self>, stream: &TcpStream, extensions: &mut Extensions) {
        bound_stalls(stream, self.stall_timeout);
        // One that is gone already needs no count.
        let Ok(peer) = stream.peer_addr() else { return };
        let Some(connection) = self.enter(peer.ip().to_canonical()) else { return };
        if connection.is_over {
            let open = connection.open_now();
            if open > self.per_client_max.saturating_mul(CLOSED_ABOVE) {
                self.closed.inc();
                // Closed already, if this fails.
                let _ = SockRef::from(stream).shutdown(std::net::Shutdown::Both);
            }
        }
        extensions.insert(Arc::new(connection));
    }

    /// `None` for those who are not counted.
    fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Connection> {
        let is_local = self.loopback_is_exempt && peer.is_loopback();
        if is_local || self.proxies.iter().any(|network| network.contains(peer)) {
            return None;
        }
        let client = ClientNetwork::of(peer);
        let is_over = self.open.enter(client) > self.per_client_max;
        Some(Connection { all: self.clone(), client, is_over })
    }
}

impl Connection {
    fn open_now(&self) -> usize {
        self.all.open.open_of(self.client)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.open.leave(self.client);
    }
}

/// Has the system close the connection of a client that takes nothing of what was sent to it, or
/// whose machine is gone: nothing of ours is asked to write more meanwhile, and so cannot tell.
#[cfg(target_os = "linux")]
fn bound_stalls(stream: &TcpStream, timeout: Duration) {
    if let Err(error) = SockRef::from(stream).set_tcp_user_timeout(Some(timeout)) {
        tracing::debug!(%error, "a connection has no bound for stalls");
    }
}

#[cfg(not(target_os = "linux"))]
fn bound_stalls(_: &TcpStream, _: Duration) {}

/// The connection of a request, to be counted for longer than the request; `None` if it is not.
pub fn of(request: &HttpRequest) -> Option<Arc<Connection>> {
    request.conn_data::<Arc<Connection>>().cloned()
}

/// Refuses a request on a connection that is one too many, and ends the connection.
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

    fn connections(config: Config) -> Arc<Connections> {
        Arc::new(Connections::new(&config, &Metrics::new("test")))
    }

    #[test]
    fn clients_are_counted_apart_and_forgotten() {
        let config = Config { http_connections_per_address_max: 2, ..Config::default() };
        let all = connections(config);
        let enter = |address: &str| all.enter(address.parse().unwrap()).unwrap();
        let kept = [enter("9.9.9.9"), enter("9.9.9.9"), enter("9.9.9.9")];
        assert_eq!(kept.each_ref().map(|one| one.is_over), [false, false, true]);
        // An IPv6 client has a network.
        let sixes = [enter("2001:db8::1"), enter("2001:db8::2"), enter("2001:db8::3")];
        assert_eq!(sixes.each_ref().map(|one| one.is_over), [false, false, true]);
        assert_eq!(all.open.shown(), (2, true));
        drop(kept);
        assert!(!enter("9.9.9.9").is_over);
        drop(sixes);
        assert_eq!(all.open.shown(), (0, false));
    }

    #[test]
    fn who_asks_for_many_is_not_counted() {
        let trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        let config = Config { trusted_proxies, ..Config::default() };
        let local = "127.0.0.1".parse().unwrap();
        let all = connections(config.clone());
        assert!(all.enter("10.1.1.1".parse().unwrap()).is_none() && all.enter(local).is_none());
        let all = connections(Config { auth: Auth::Jwt, ..config });
        assert!(all.enter(local).is_some());
    }
}
