//! The HTTP server for monitoring, which API and worker each run on a port of its own: `/metrics`,
//! `/health`, `/health/live`, `/health/ready`. It has a thread and connections of its own, so it answers
//! while the API is overloaded, and it queries neither Redis nor MongoDB.

use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::http::StatusCode;
use actix_web::http::header::{HOST, HeaderValue};
use actix_web::web::{Data, get};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use serde::Serialize;
use tokio::time::sleep;

use crate::config::LiveConfig;
use crate::lifecycle::Shutdown;

/// Prometheus' text format.
pub const METRICS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Few programs monitor a process: one thread is enough.
const THREADS: usize = 1;
/// Open connections; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// How long a request in flight may take to finish at shutdown, seconds.
const SHUTDOWN_SECONDS: u64 = 1;
/// Pause after a server that could not start.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// A process that is monitored.
pub trait Monitored: Send + Sync + 'static {
    /// The body of `/health`.
    type Health: Serialize;

    /// Returns all metrics in Prometheus' text format.
    fn metrics(&self) -> String;

    /// Returns whether the process should get work: 200 or 503, and why.
    fn health(&self) -> (StatusCode, Self::Health);
}

struct Shared<M> {
    monitored: M,
    config: LiveConfig,
    /// Whether the server listens on loopback.
    is_local: bool,
}

/// Serves until shutdown is requested. Returns before that if the server fails.
pub async fn serve<M: Monitored + Clone>(
    listener: Arc<TcpListener>,
    monitored: M,
    config: LiveConfig,
    shutdown: Shutdown,
) {
    let server = listener.try_clone().and_then(|listener| server(listener, monitored, config));
    let server = match server {
        Ok(server) => server,
        Err(error) => {
            tracing::error!(%error, "the server for monitoring does not start");
            // Returning before shutdown makes the supervisor start it again.
            return sleep(PAUSE_AFTER_ERROR).await;
        }
    };
    let (handle, mut server) = (server.handle(), pin!(server));
    let ended = tokio::select! {
        ended = &mut server => ended,
        () = shutdown.requested() => tokio::join!(server, handle.stop(true)).0,
    };
    if let Err(error) = ended {
        tracing::error!(%error, "the server for monitoring ended");
    }
}

/// Creates the server on a bound listener. It runs when awaited.
///
/// # Errors
/// If the listener or the server's thread fails.
pub fn server<M: Monitored>(
    listener: TcpListener,
    monitored: M,
    config: LiveConfig,
) -> io::Result<Server> {
    let is_local = listener.local_addr()?.ip().is_loopback();
    let shared = Data::new(Shared { monitored, config, is_local });
    let server = HttpServer::new(move || {
        App::new()
            .app_data(shared.clone())
            .route("/metrics", get().to(metrics::<M>))
            .route("/health", get().to(ready::<M>))
            .route("/health/ready", get().to(ready::<M>))
            .route("/health/live", get().to(live))
    });
    Ok(server
        .workers(THREADS)
        .max_connections(CONNECTIONS_MAX)
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .disable_signals()
        .listen(listener)?
        .run())
}

/// Serves metrics. On loopback a foreign `Host` is refused, which protects against DNS rebinding; the
/// health routes accept any name.
async fn metrics<M: Monitored>(shared: Data<Shared<M>>, request: HttpRequest) -> HttpResponse {
    let is_own =
        |host: &HeaderValue| host.to_str().is_ok_and(|host| shared.config.load().is_own_host(host));
    if shared.is_local && !request.headers().get_all(HOST).all(is_own) {
        return HttpResponse::Forbidden().json(serde_json::json!({
            "error": "host_forbidden",
            "detail": "The Host header is not a name of this server: use localhost or 127.0.0.1, \
                or add the name to the setting allowed_hosts",
        }));
    }
    HttpResponse::Ok().content_type(METRICS_TEXT).body(shared.monitored.metrics())
}

async fn live() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "status": "ok" }))
}

async fn ready<M: Monitored>(shared: Data<Shared<M>>) -> HttpResponse {
    let (status, body) = shared.monitored.health();
    HttpResponse::build(status).insert_header(("Cache-Control", "no-store")).json(body)
}
