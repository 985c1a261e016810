//! How many connections a client has open. Above `http_connections_per_address_max` a connection
//! is told so and closed with its first request; above twice as many it is closed at once, unread.
//!
//! Proxies that are trusted ask for many clients, and so does whoever may name users from this
//! machine: they are not counted. What is kept is bounded by the connections that are open.

use std::any::Any;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::HttpRequest;
use actix_web::dev::Extensions;
use prometheus::{IntCounter, IntGauge};
use tokio::net::TcpStream;

use crate::config::Config;
use crate::config::values::{Auth, Network};
use crate::domain::ClientNetwork;
use crate::telemetry::Metrics;

use super::problem::{Code, Problem};

/// When a client that has too many may try again, seconds: some of its own have to end first.
const RETRY_SECONDS: u32 = 1;
/// Above this many times the bound there is no answer any more.
const CLOSED_ABOVE: usize = 2;

/// The open connections of all clients of one server.
pub struct Connections {
    open: Mutex<HashMap<ClientNetwork, usize>>,
    per_client_max: usize,
    trusted_proxies: Vec<Network>,
    loopback_is_exempt: bool,
    clients: IntGauge,
    answered: IntCounter,
    closed: IntCounter,
}

/// An open connection; counts while it lives.
struct Connection {
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
            open: Mutex::default(),
            per_client_max: config.http_connections_per_address_max,
            trusted_proxies: config.trusted_proxies.clone(),
            loopback_is_exempt: config.auth == Auth::Trusted,
            clients: metrics.limiter_entries.with_label_values(&["connections"]),
            answered: refused("answered"),
            closed: refused("closed"),
        }
    }

    /// Counts a connection that was accepted; for `HttpServer::on_connect`.
    pub fn accepted(self: &Arc<Self>, stream: &dyn Any, extensions: &mut Extensions) {
        let Some(stream) = stream.downcast_ref::<TcpStream>() else { return };
        // One that is gone already needs no count.
        let Ok(peer) = stream.peer_addr() else { return };
        let Some(connection) = self.enter(peer.ip().to_canonical()) else { return };
        if connection.is_over {
            let open = connection.open_now();
            if open > self.per_client_max.saturating_mul(CLOSED_ABOVE) {
                self.closed.inc();
                // Closed already, if this fails.
                let _ = socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Both);
            }
        }
        extensions.insert(connection);
    }

    /// `None` for those who are not counted.
    fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Connection> {
        let is_local = self.loopback_is_exempt && peer.is_loopback();
        if is_local || self.trusted_proxies.iter().any(|network| network.contains(peer)) {
            return None;
        }
        let client = ClientNetwork::of(peer);
        let mut open = self.lock();
        let count = open.entry(client).or_default();
        *count += 1;
        let is_over = *count > self.per_client_max;
        self.clients.set(open.len() as i64);
        drop(open);
        Some(Connection { all: self.clone(), client, is_over })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClientNetwork, usize>> {
        // Nothing panics while it is held; were it so, the counts are whole.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    fn open_now(&self) -> usize {
        self.all.lock().get(&self.client).copied().unwrap_or_default()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut open = self.all.lock();
        if let Entry::Occupied(mut count) = open.entry(self.client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        // A rush that is over leaves no room behind.
        if open.is_empty() {
            open.shrink_to_fit();
        }
        self.all.clients.set(open.len() as i64);
    }
}

/// Refuses a request on a connection that is one too many, and ends the connection.
pub fn check(request: &HttpRequest) -> Result<(), Problem> {
    let Some(connection) = request.conn_data::<Connection>().filter(|one| one.is_over) else {
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
        assert_eq!(all.clients.get(), 2);
        drop(kept);
        assert!(!enter("9.9.9.9").is_over);
        drop(sixes);
        assert_eq!((all.clients.get(), all.lock().capacity()), (0, 0));
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
