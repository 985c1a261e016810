//! The server that Holdfast is compared with: actix-web with one route and a prepared response.

use std::error::Error;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{App, HttpResponse, HttpServer, web};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The same path as Holdfast's.
pub const BOOKINGS: &str = "/api/v1/bookings";
/// As Holdfast keeps connections (`http_keep_alive_seconds`).
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Connections that wait to be accepted.
const BACKLOG: u32 = 4_096;
/// Bytes that one read of the loopback server takes at most.
const LOOPBACK_READ_BYTES: usize = 64 * 1024;

/// The responses to serve.
#[derive(clap::Args)]
pub struct Options {
    /// Threads that serve; 0: as many as actix-web chooses
    #[arg(long, default_value_t = 0)]
    workers: usize,
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Reads a hold's JSON and refuses it
    Refusal {
        /// Bytes of each answer's body
        #[arg(long)]
        body_bytes: usize,
    },
    /// Reads no HTTP: answers as many times as requests end in what it has read
    Loopback {
        /// Bytes of each answer's body
        #[arg(long)]
        body_bytes: usize,
    },
    /// Serves a prepared document
    Document {
        /// The document's path
        #[arg(long)]
        path: String,
        /// The answer's status
        #[arg(long)]
        status: u16,
        /// `name: value`, of the answer's head
        #[arg(long)]
        header: Vec<String>,
        /// A file with the answer's body
        #[arg(long)]
        body: PathBuf,
    },
}

/// The fields that Holdfast reads from a request for named seats.
#[derive(Deserialize)]
struct Hold {
    event_id: u32,
    seat_ids: Vec<u32>,
}

/// Serves on a free port, whose number it prints, until it is killed.
pub async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    match options.what {
        What::Refusal { body_bytes } => {
            // One text for all threads: an answer costs no copy and no count of its owners.
            let body: &'static str = String::leak(json_of(body_bytes)?);
            let refuse = move |hold: web::Json<Hold>| async move {
                std::hint::black_box((hold.event_id, &hold.seat_ids));
                HttpResponse::Conflict().content_type("application/problem+json").body(body)
            };
            serve(options.workers, move |app| {
                app.route(BOOKINGS, web::post().to(refuse));
            })
            .await
        }
        What::Loopback { body_bytes } => loopback(json_of(body_bytes)?).await,
        What::Document { path, status, header, body } => {
            let body: &'static [u8] = Vec::leak(std::fs::read(body)?);
            let status = StatusCode::from_u16(status)?;
            let headers: &'static [(HeaderName, HeaderValue)] = Vec::leak(parse(&header)?);
            let show = move || async move {
                let mut answer = HttpResponse::build(status);
                for (name, value) in headers {
                    answer.insert_header((name.clone(), value.clone()));
                }
                if body.is_empty() { answer.finish() } else { answer.body(body) }
            };
            serve(options.workers, move |app| {
                app.route(&path, web::get().to(show));
            })
            .await
        }
    }
}

async fn serve(
    workers: usize,
    routes: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    let server = HttpServer::new(move || App::new().configure(routes.clone()))
        .keep_alive(KEEP_ALIVE)
        .backlog(BACKLOG)
        .disable_signals();
    let server = match workers {
        0 => server,
        threads => server.workers(threads),
    };
    Ok(server.listen(listener)?.run().await?)
}

/// Answers every request body's end, a closing brace, with the same bytes: what remains is the cost of
/// loopback, of the runtime, and of the load generator.
async fn loopback(body: String) -> Result<(), Box<dyn Error>> {
    let head = "HTTP/1.1 409 Conflict\r\ncontent-type: application/problem+json\r\n";
    let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    let answer: &'static [u8] = Vec::leak(answer.into_bytes());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let (mut read, mut answers) = (vec![0; LOOPBACK_READ_BYTES], Vec::new());
            loop {
                let bytes = match stream.read(&mut read).await {
                    Ok(0) | Err(_) => return,
                    Ok(bytes) => bytes,
                };
                answers.clear();
                for _ in memchr::memchr_iter(b'}', &read[..bytes]) {
                    answers.extend_from_slice(answer);
                }
                if stream.write_all(&answers).await.is_err() {
                    return;
                }
            }
        });
    }
}

fn parse(lines: &[String]) -> Result<Vec<(HeaderName, HeaderValue)>, Box<dyn Error>> {
    let parsed = lines.iter().map(|line| {
        let (name, value) = line.split_once(": ").ok_or("a header is `name: value`")?;
        Ok((name.parse()?, value.parse()?))
    });
    parsed.collect()
}

/// JSON of exactly so many bytes.
fn json_of(bytes: usize) -> Result<String, Box<dyn Error>> {
    let around = r#"{"detail":""}"#.len();
    let filler = bytes.checked_sub(around).ok_or("a body has more bytes than that")?;
    Ok(format!(r#"{{"detail":"{}"}}"#, "x".repeat(filler)))
}
