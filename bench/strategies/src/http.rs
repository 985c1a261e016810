//! The HTTP shape of all strategies, which is Holdfast's: `POST /api/v1/events` puts seats on sale,
//! and `POST /api/v1/bookings` asks for some of them. 201 is a booking, 409 a refusal, 503 a
//! failure.

use std::collections::HashMap;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Json};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::stores::{Failure, Order, Stores, now_ms};

const KEEP_ALIVE: Duration = Duration::from_secs(75);
const BACKLOG: u32 = 8_192;
/// Bytes of a request's body at most.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Seats of a booking at most.
const SEATS_MAX: usize = 10;

/// What came of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The booking's document is written, or will be where the strategy says so.
    Granted,
    /// Not all of the seats are free.
    Refused,
}

/// A way to decide who gets which seat. Whatever decides is in Redis or MongoDB, so that any number
/// of processes may sell the same seats.
pub trait Strategy: Send + Sync + 'static {
    /// Puts the seats 1 to `capacity` on sale.
    async fn prepare(&self, event: u64, capacity: u32) -> Result<(), Failure>;

    /// Gives all of the seats or none.
    async fn book(&self, order: &Order) -> Result<Decision, Failure>;
}

/// How the server runs.
pub struct Serving {
    pub listen: SocketAddr,
    /// 0: as many as there are processors.
    pub threads: usize,
    pub until_stdin_closes: bool,
}

/// What the handlers share.
struct State<S> {
    strategy: S,
    stores: Stores,
    /// Capacities of events, which never change.
    events: RwLock<HashMap<u64, u32>>,
}

#[derive(Deserialize)]
struct NewEvent {
    sections: Vec<Section>,
}

#[derive(Deserialize)]
struct Section {
    capacity: u32,
}

#[derive(Deserialize)]
struct Wanted {
    event_id: u64,
    seat_ids: Vec<u32>,
}

#[derive(Serialize)]
struct Booking<'a> {
    id: &'a str,
    event_id: u64,
    user_id: &'a str,
    seat_ids: &'a [u32],
    status: &'static str,
    created_at_ms: i64,
}

impl Serving {
    /// Prints the port and serves until the process is told to end.
    ///
    /// # Errors
    /// If it cannot listen.
    pub async fn run<S: Strategy>(self, stores: &Stores, strategy: S) -> Result<(), Failure> {
        let events = RwLock::default();
        let state = Arc::new(State { strategy, stores: stores.clone(), events });
        let listener = TcpListener::bind(self.listen)?;
        let port = listener.local_addr()?.port();
        let server = HttpServer::new(move || {
            App::new()
                .app_data(Data::from(state.clone()))
                .app_data(web::JsonConfig::default().limit(BODY_BYTES_MAX))
                .route("/api/v1/events", web::post().to(create_event::<S>))
                .route("/api/v1/bookings", web::post().to(book::<S>))
        })
        .keep_alive(KEEP_ALIVE)
        .backlog(BACKLOG);
        let server = match self.threads {
            0 => server,
            threads => server.workers(threads),
        };
        let server = server.listen(listener)?.run();
        if self.until_stdin_closes {
            let handle = server.handle();
            tokio::spawn(async move {
                // Whatever ends the reading ends the server, too.
                let _ = tokio::task::spawn_blocking(read_to_end).await;
                handle.stop(false).await;
            });
        }
        println!("{port}");
        Ok(server.await?)
    }
}

fn read_to_end() {
    let mut bytes = [0; 256];
    let mut stdin = std::io::stdin();
    while stdin.read(&mut bytes).is_ok_and(|read| read > 0) {}
}

async fn create_event<S: Strategy>(
    state: Data<State<S>>,
    Json(new): Json<NewEvent>,
) -> HttpResponse {
    let created = async {
        let capacity = new.sections.iter().map(|section| section.capacity).sum();
        let event = state.stores.next_event().await?;
        state.strategy.prepare(event, capacity).await?;
        state.stores.save_event(event, capacity).await?;
        Ok::<_, Failure>((event, capacity))
    };
    match created.await {
        Ok((id, total_seats)) => {
            HttpResponse::Created().json(json!({ "id": id, "total_seats": total_seats }))
        }
        Err(failure) => unavailable(&failure),
    }
}

async fn book<S: Strategy>(
    state: Data<State<S>>,
    request: HttpRequest,
    Json(wanted): Json<Wanted>,
) -> HttpResponse {
    let user = request.headers().get("x-user-id").and_then(|user| user.to_str().ok());
    let Some(user) = user else {
        return problem(
            StatusCode::UNAUTHORIZED,
            "authentication_required",
            "X-User-Id is missing.",
        );
    };
    let capacity = match state.capacity(wanted.event_id).await {
        Ok(Some(capacity)) => capacity,
        Ok(None) => return problem(StatusCode::NOT_FOUND, "event_not_found", "No such event."),
        Err(failure) => return unavailable(&failure),
    };
    let mut seats = wanted.seat_ids;
    seats.sort_unstable();
    let is_valid = !seats.is_empty()
        && seats.len() <= SEATS_MAX
        && seats.windows(2).all(|pair| pair[0] != pair[1])
        && seats.iter().all(|seat| (1..=capacity).contains(seat));
    if !is_valid {
        let detail = "Choose 1 to 10 different seats of the event.";
        return problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_seats", detail);
    }
    let id = Uuid::new_v4().to_string();
    let order = Order { id, event: wanted.event_id, seats, user: user.to_owned() };
    match state.strategy.book(&order).await {
        Ok(Decision::Granted) => HttpResponse::Created().json(Booking {
            id: &order.id,
            event_id: order.event,
            user_id: &order.user,
            seat_ids: &order.seats,
            status: "CONFIRMED",
            created_at_ms: now_ms(),
        }),
        Ok(Decision::Refused) => {
            problem(StatusCode::CONFLICT, "seats_unavailable", "These seats are not free.")
        }
        Err(failure) => unavailable(&failure),
    }
}

impl<S> State<S> {
    /// Returns the number of an event's seats, which is remembered.
    async fn capacity(&self, event: u64) -> Result<Option<u32>, Failure> {
        let known = self.events.read().map_err(|_| "a thread panicked")?.get(&event).copied();
        if known.is_some() {
            return Ok(known);
        }
        let found = self.stores.capacity(event).await?;
        if let Some(capacity) = found {
            self.events.write().map_err(|_| "a thread panicked")?.insert(event, capacity);
        }
        Ok(found)
    }
}

fn problem(status: StatusCode, error: &str, detail: &str) -> HttpResponse {
    let title = status.canonical_reason().unwrap_or_default();
    let body = json!({
        "type": "about:blank", "title": title, "status": status.as_u16(), "error": error,
        "detail": detail,
    });
    HttpResponse::build(status).content_type("application/problem+json").body(body.to_string())
}

fn unavailable(failure: &Failure) -> HttpResponse {
    // Only the first: writing thousands of lines would slow down what is being measured.
    static FIRST: std::sync::Once = std::sync::Once::new();
    FIRST.call_once(|| eprintln!("failed, and perhaps others after it: {failure}"));
    problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Please try again.")
}
