//! The HTTP server: its bounds, and how it ends.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol, Request};
use actix_service::{ServiceFactory, ServiceFactoryExt, fn_factory, fn_service, map_config};
use actix_web::App;
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, Server, ServiceResponse};
use actix_web::middleware::Condition;
use actix_web::web::{Bytes, Data};
use utoipa::OpenApi;

use crate::config::Config;
use crate::lifecycle::Shutdown;
use crate::sale::Sale;
use crate::telemetry::Metrics;

use super::endpoint::unmatched;
use super::fast_routes::FastRoutes;
use super::openapi::Document;
use super::router::endpoints;
use super::seats::Frames;
use super::state::State;
use crate::gates::Gates;
use crate::http::connections::Connections;
use crate::http::cors::{self, Preflights};
use crate::http::headers;
use crate::http::outgoing;
use crate::http::response_memory::ResponseMemory;
use crate::http::transport::{Transport, TransportLimits};
use crate::http::upgrade;
use crate::push::PushState;

/// Connections that wait to be accepted: a sale's first second brings many at once.
const BACKLOG: u32 = 4_096;

/// A listener on this address with room for a rush.
///
/// # Errors
/// If the address is taken or not ours. Must be called within a Tokio runtime.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// Serves the API on a bound listener until shutdown is requested, then ends in order: readiness
/// turns 503, after `shutdown_notice_ms` no connection is accepted any more, and what is under
/// way has `shutdown_seconds` to finish.
///
/// # Errors
/// If the listener or the server's threads fail.
pub async fn run(
    listener: TcpListener,
    config: Arc<Config>,
    sale: Sale,
    gates: Arc<Gates>,
    metrics: Metrics,
    shutdown: Shutdown,
) -> io::Result<()> {
    let memory = Arc::new(ResponseMemory::new(&config, &metrics));
    let frames = Arc::new(Frames::new(&config, memory.clone(), &metrics));
    let (kept, counted, stop) = (frames.clone(), metrics.clone(), shutdown.clone());
    let evict_idle = move || kept.clone().evict_idle(counted.clone(), stop.clone());
    sale.supervisor().spawn("seat_map_cleanup", &shutdown, evict_idle);
    // The first probe is told what is, not that nothing is known.
    sale.dependencies().are_known().await;
    // Built first: what builds a server must stay on its thread, the server itself need not.
    let openapi = Document::openapi().to_json().map_err(io::Error::other)?;
    let (live, supervisor) = (sale.live(), sale.supervisor());
    let push = PushState::new(live, supervisor, &config, &memory, &metrics, &shutdown);
    let state = State {
        sale,
        gates,
        push: Arc::new(push),
        frames,
        memory,
        metrics,
        shutdown,
        started: Instant::now(),
        openapi: Bytes::from(openapi),
        config,
    };
    build(listener, state)?.await
}

fn build(listener: TcpListener, state: State) -> io::Result<Server> {
    let (config, shutdown) = (state.config.clone(), state.shutdown.clone());
    let limits = TransportLimits::new(&config, state.memory.clone(), &state.metrics);
    let limits = Arc::new(limits);
    let connections = Arc::new(Connections::new(&config, &state.metrics));
    let notice = Duration::from_millis(config.shutdown_notice_ms);
    let server = Server::build()
        .max_concurrent_connections(config.http_connections_max)
        .shutdown_timeout(config.shutdown_seconds)
        .disable_signals()
        .shutdown_signal(async move {
            shutdown.requested().await;
            tokio::time::sleep(notice).await;
        });
    let server = match config.http_workers {
        0 => server,
        threads => server.workers(threads),
    };
    let draining = server.graceful_shutdown_signal();
    let address = listener.local_addr()?;
    let server = server.listen("api", listener, move || {
        let draining = draining.clone();
        let (connections, limits) = (connections.clone(), limits.clone());
        let state = Data::new(state.clone());
        let upgraded = state.clone();
        let transport = fn_service(move |stream| {
            let transport = Transport::new(stream, limits.clone());
            let peer = transport.peer();
            async move { Ok::<_, DispatchError>((transport, Protocol::Http1, peer)) }
        });
        // As `actix_web::HttpServer` does it, which leaves no way to upgrade.
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let draining = draining.clone();
                async move { draining.notified().await }
            })
            .keep_alive(Duration::from_secs(config.http_keep_alive_seconds))
            .client_request_timeout(Duration::from_millis(config.http_header_timeout_ms))
            .client_disconnect_timeout(upgrade::DISCONNECT_TIMEOUT)
            .local_addr(address)
            .on_connect_ext(move |transport: &Transport, extensions| {
                extensions.insert(transport.exchange());
                connections.accepted(transport.stream(), extensions);
            })
            .upgrade(fn_factory(move || {
                let app = application(&upgraded).new_service(());
                async move {
                    let app = Rc::new(app.await?);
                    Ok::<_, ()>(fn_service(move |(request, framed)| {
                        let app = app.clone();
                        async move { upgrade::serve(&*app, request, framed).await }
                    }))
                }
            }))
            .finish(application(&state));
        transport.and_then(http)
    })?;
    Ok(server.run())
}

/// All routes, for one thread.
fn application(
    state: &Data<State>,
) -> impl ServiceFactory<
    Request,
    Config = (),
    Response = ServiceResponse<impl MessageBody + Unpin + use<>>,
    Error = actix_web::Error,
    InitError = (),
> + use<> {
    let routes = endpoints(&state.metrics);
    let has_origins = cors::has_origins(&state.config);
    // Where other sites are let in, every answer has to pass what says so.
    let front = FastRoutes::of(&routes, state);
    let preflights = Preflights::new(state);
    let (outer, inner) = match has_origins {
        true => (FastRoutes::none(state), front),
        false => (front, FastRoutes::none(state)),
    };
    let app = App::new()
        .wrap_fn(move |request, table| inner.serve(request, table))
        .wrap(Condition::new(has_origins, cors::marks(&state.config)))
        .wrap_fn(move |request, marked| preflights.serve(request, marked))
        .wrap(Condition::new(has_origins, headers::defaults()))
        .wrap_fn(move |request, table| outer.serve(request, table))
        .wrap_fn(|request, inner| outgoing::tracked(request, inner))
        .app_data(state.clone())
        .configure(|server| routes.into_iter().for_each(|route| route.register(server)))
        .default_service(unmatched(&state.metrics));
    map_config(app, |()| AppConfig::default())
}
