//! The server that Holdfast is compared with: actix-web, one route, the same JSON read into a
//! type, an answer of as many bytes that is there before it is asked for. Nothing else is done.

use std::error::Error;
use std::net::TcpListener;
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use serde::Deserialize;

/// The same path as Holdfast's.
pub const BOOKINGS: &str = "/api/v1/bookings";
/// As Holdfast keeps connections (`http_keep_alive_seconds`).
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Connections that wait to be accepted.
const BACKLOG: u32 = 4_096;

/// What to serve.
#[derive(clap::Args)]
pub struct Options {
    /// Bytes of each answer's body
    #[arg(long)]
    body_bytes: usize,
    /// Threads that serve; 0: as many as actix-web chooses
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// What Holdfast reads of a request for named seats.
#[derive(Deserialize)]
struct Hold {
    event_id: u32,
    seat_ids: Vec<u32>,
}

/// Serves on a free port, whose number it prints, until it is killed.
pub async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    // One text for all threads: an answer costs no copy and no count of its owners.
    let body: &'static str = String::leak(body(options.body_bytes)?);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    let refuse = move |hold: web::Json<Hold>| async move {
        std::hint::black_box((hold.event_id, &hold.seat_ids));
        HttpResponse::Conflict().content_type("application/problem+json").body(body)
    };
    let server = HttpServer::new(move || App::new().route(BOOKINGS, web::post().to(refuse)))
        .keep_alive(KEEP_ALIVE)
        .backlog(BACKLOG)
        .disable_signals();
    let server = match options.workers {
        0 => server,
        threads => server.workers(threads),
    };
    Ok(server.listen(listener)?.run().await?)
}

/// JSON of exactly so many bytes.
fn body(bytes: usize) -> Result<String, Box<dyn Error>> {
    let around = r#"{"detail":""}"#.len();
    let filler = bytes.checked_sub(around).ok_or("a body has more bytes than that")?;
    Ok(format!(r#"{{"detail":"{}"}}"#, "x".repeat(filler)))
}
