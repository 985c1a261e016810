//! The HTTP server: its limits and its shutdown.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix_http::error::DispatchError;
use actix_http::{HttpService, KeepAlive, Protocol, Request};
use actix_service::{ServiceFactory, ServiceFactoryExt, fn_factory, fn_service, map_config};
use actix_web::App;
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, Server, ServiceResponse};
use actix_web::web::{Bytes, Data};
use tokio::sync::Semaphore;
use utoipa::OpenApi;

use crate::config::Config;
use crate::lifecycle::{Shutdown, shutdown_channel};
use crate::redis;
use crate::sale::Sale;
use crate::telemetry::Metrics;

use super::admin::event_log::LOG_STREAMS_MAX;
use super::event_gauges;
use super::fast_routes::FastRoutes;
use super::router::{self, Document, routes};
use super::seats::SeatMapCache;
use super::state::State;
use crate::gates::Gates;
use crate::http::connections::Connections;
use crate::http::cors::{self, Preflights};
use crate::http::headers;
use crate::http::live_cors::LiveCors;
use crate::http::monitoring;
use crate::http::outgoing;
use crate::http::response_memory::ResponseMemory;
use crate::http::transport::{Transport, TransportLimits};
use crate::http::upgrade;
use crate::push::PushState;

/// Connections that may wait to be accepted: many arrive in the first second of a sale.
const BACKLOG: u32 = 4_096;
/// How long idle connections stay open once no new one is accepted: a proxy that has just chosen one is
/// served, and the others notice that the listener is gone.
const IDLE_LINGER: Duration = Duration::from_millis(300);

/// Binds a listener with a large backlog.
///
/// # Errors
/// If the address is in use or not local. Must be called within a Tokio runtime.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// The API's bound listeners.
pub struct Listeners {
    /// For clients: `listen`.
    pub clients: TcpListener,
    /// For monitoring: `metrics_listen`.
    pub monitoring: TcpListener,
}

impl Listeners {
    /// Binds both.
    ///
    /// # Errors
    /// If an address is in use or not local; the text names its setting. Must be called within a Tokio
    /// runtime.
    pub fn bind(config: &Config) -> Result<Self, String> {
        let bound = |name: &str, address: SocketAddr| {
            bind(address).map_err(|error| format!("cannot listen on {address} ({name}): {error}"))
        };
        Ok(Listeners {
            clients: bound("listen", config.listen)?,
            monitoring: bound("metrics_listen", config.metrics_listen)?,
        })
    }
}

/// Serves the API on bound listeners until shutdown is requested. Then readiness turns 503, after
/// `shutdown_notice_ms` no connection is accepted any more, and requests in progress have
/// `shutdown_seconds` to finish. From the notice on each response ends its connection (`Connection: close`), so
/// that proxies send what follows elsewhere. Monitoring is answered until then.
///
/// # Errors
/// If a listener or the server's threads fail.
pub async fn run(
    listeners: Listeners,
    config: Arc<Config>,
    sale: Sale,
    gates: Arc<Gates>,
    metrics: Metrics,
    shutdown: Shutdown,
) -> io::Result<()> {
    let memory = Arc::new(ResponseMemory::new(&config, &metrics));
    let seat_maps = Arc::new(SeatMapCache::new(&config, memory.clone(), &metrics));
    let (evicted, counted, stop) = (seat_maps.clone(), metrics.clone(), shutdown.clone());
    let evict_idle = move || evicted.clone().evict_idle(counted.clone(), stop.clone());
    sale.supervisor().spawn("seat_map_cleanup", &shutdown, evict_idle);
    let (sold, shown, stop) = (sale.clone(), metrics.clone(), shutdown.clone());
    let show = move || event_gauges::run(sold.clone(), shown.clone(), stop.clone());
    sale.supervisor().spawn("event_gauges", &shutdown, show);
    // The first probe gets the real state of the dependencies.
    sale.dependencies().are_known().await;
    // `build` is synchronous: its builders must stay on one thread, the server need not.
    let openapi = Document::openapi().to_json().map_err(io::Error::other)?;
    let (live, supervisor) = (sale.live(), sale.supervisor());
    let push = PushState::new(live, supervisor, &config, &memory, &metrics, &shutdown);
    let state = State {
        sale,
        push: Arc::new(push),
        seat_maps,
        memory,
        metrics,
        shutdown,
        log_streams: Arc::new(Semaphore::new(LOG_STREAMS_MAX)),
        started: Instant::now(),
        openapi: Bytes::from(openapi),
        // The settings that a reload changes.
        config: gates.config().clone(),
        gates,
    };
    // Ends when this function does.
    let (_monitoring_ends, monitoring_end) = shutdown_channel();
    monitor(listeners.monitoring, &state, &monitoring_end);
    build(listeners.clients, state)?.await
}

/// Serves metrics and health on their own port.
fn monitor(listener: TcpListener, state: &State, end: &Shutdown) {
    let (listener, supervisor) = (Arc::new(listener), state.sale.supervisor().clone());
    let (state, stop) = (state.clone(), end.clone());
    supervisor.spawn("monitoring", end, move || {
        monitoring::serve(listener.clone(), state.clone(), state.config.clone(), stop.clone())
    });
}

fn build(listener: TcpListener, state: State) -> io::Result<Server> {
    let (config, shutdown) = (state.config.load_full(), state.shutdown.clone());
    let limits = TransportLimits::new(&config, state.memory.clone(), &state.metrics);
    let limits = Arc::new(limits);
    let connections = Arc::new(Connections::new(state.config.clone(), &state.metrics));
    let notice = Duration::from_millis(config.shutdown_notice_ms);
    let is_ending = Arc::new(AtomicBool::new(false));
    let ending = is_ending.clone();
    let server = Server::build()
        .max_concurrent_connections(config.http_connections_max)
        .shutdown_timeout(config.shutdown_seconds)
        .disable_signals()
        .shutdown_signal(async move {
            shutdown.requested().await;
            ending.store(true, Ordering::Relaxed);
            tokio::time::sleep(notice).await;
        });
    let server = match config.http_workers {
        0 => server,
        threads => server.workers(threads),
    };
    let draining = server.graceful_shutdown_signal();
    let address = listener.local_addr()?;
    let server = server.listen("api", listener, move || {
        // Once on each HTTP thread.
        redis::serve_requests_here();
        let draining = draining.clone();
        let (connections, limits) = (connections.clone(), limits.clone());
        let state = Data::new(state.clone());
        let (upgraded, ending) = (state.clone(), is_ending.clone());
        let transport = fn_service(move |stream| {
            let transport = Transport::new(stream, limits.clone());
            let peer = transport.peer();
            async move { Ok::<_, DispatchError>((transport, Protocol::Http1, peer)) }
        });
        // The same as `actix_web::HttpServer` does, which has no way to upgrade connections.
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let draining = draining.clone();
                async move {
                    draining.notified().await;
                    tokio::time::sleep(IDLE_LINGER).await;
                }
            })
            // `Transport` ends idle connections: actix would start a timer after each request.
            .keep_alive(KeepAlive::Os)
            .client_request_timeout(Duration::from_millis(config.http_header_timeout_ms))
            .client_disconnect_timeout(upgrade::DISCONNECT_TIMEOUT)
            .local_addr(address)
            .on_connect_ext(move |transport: &Transport, extensions| {
                extensions.insert(transport.exchange());
                connections.accepted(transport.stream(), extensions);
            })
            .upgrade(fn_factory(move || {
                let app = application(&upgraded, &ending).new_service(());
                async move {
                    let app = Rc::new(app.await?);
                    Ok::<_, ()>(fn_service(move |(request, framed)| {
                        let app = app.clone();
                        async move { upgrade::serve(&*app, request, framed).await }
                    }))
                }
            }))
            .finish(application(&state, &is_ending));
        transport.and_then(http)
    })?;
    Ok(server.run())
}

/// The routes and everything around them, for one HTTP thread. The last layer is the outermost. While
/// `is_ending`, each response ends its connection.
fn application(
    state: &Data<State>,
    is_ending: &Arc<AtomicBool>,
) -> impl ServiceFactory<
    Request,
    Config = (),
    Response = ServiceResponse<impl MessageBody + Unpin + use<>>,
    Error = actix_web::Error,
    InitError = (),
> + use<> {
    let routes = routes(&state.metrics);
    let config = state.config.clone();
    let has_origins = move || cors::has_origins(&config.load());
    // With CORS, the responses of fast routes need its headers, too: then they are served inside it.
    let outer = FastRoutes::new(&routes, state);
    let (inner, is_inside) = (outer.clone(), has_origins.clone());
    let preflights = Preflights::new(state.config.clone(), state.metrics.clone());
    let is_ending = is_ending.clone();
    let app = App::new()
        .wrap_fn(move |request, router| inner.serve(is_inside(), request, router))
        .wrap(LiveCors(state.config.clone()))
        .wrap_fn(move |request, next| preflights.serve(request, next))
        .wrap(headers::defaults())
        .wrap_fn(move |request, router| outer.serve(!has_origins(), request, router))
        .wrap_fn(move |request, inner| {
            outgoing::tracked(request, inner, is_ending.load(Ordering::Relaxed))
        })
        .app_data(state.clone())
        .configure(|server| router::register(routes, &state.metrics, server))
        .default_service(router::unmatched(&state.metrics));
    map_config(app, |()| AppConfig::default())
}
