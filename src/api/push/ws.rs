//! `/ws/events/{event_id}`: a WebSocket (RFC 6455).

use std::convert::Infallible;
use std::ops::ControlFlow::{self, Break, Continue};
use std::time::{Duration, Instant};

use actix_http::ws::{self, CloseCode, CloseReason};
use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{Bytes, Data, Payload};
use futures_util::stream;

use super::feed::Feed;
use super::inbox::{Came, Inbox};
use super::message::{Heard, Message, frame};
use super::pulse::{Due, Pulse};
use super::sockets::{End, Kind, Open};
use super::{origin, room};
use crate::api::endpoint::Answer;
use crate::api::gates;
use crate::api::openapi::SocketProblems;
use crate::api::params::event_id;
use crate::api::problem::{Code, Problem};
use crate::api::state::{Call, State};
use crate::domain::{EventId, RouteClass, UserId};

/// The version of the protocol that there is.
const VERSION: &str = "13";

/// Open a WebSocket
///
/// Texts of one JSON object each, both ways. The server says `connected` first. After
/// `register_waiting_room` with the token that joining gave it says `registration_confirmed`, and then,
/// unasked, the position, `admitted`, or why it will not be. It pings; a client that does not answer, sends
/// more than 10 frames a second, or more than 4 KiB in one, is closed with a reason.
#[utoipa::path(
    get, path = "/ws/events/{event_id}", tag = "events",
    params(("event_id" = u32, Path, description = "The event")),
    responses(
        (status = 101, description = "The socket; messages are as for `/api/v1/events/{event_id}/stream`"),
        SocketProblems,
    ),
)]
pub async fn open(call: Call, payload: Payload) -> Answer {
    let caller = gates::pass(&call, RouteClass::Push).await?;
    origin::check(&call)?;
    let event = event_id(&call.request)?;
    let mut answer = handshake(&call)?;
    call.state.sale.known_event(event).await?;
    let is_ending = call.state.shutdown.is_requested();
    let open = call.state.sockets.open(&caller, Kind::WebSocket, is_ending)?;
    let config = &call.state.config;
    let pulse = Pulse::new(
        Instant::now(),
        Duration::from_millis(config.socket_ping_interval_ms),
        Duration::from_millis(config.socket_idle_timeout_ms),
        rand::random(),
    );
    let socket = Box::new(Socket {
        phase: Phase::Opening,
        event,
        user: caller.user,
        inbox: Inbox::new(payload),
        feed: Feed::new(event),
        pulse,
        open,
        state: call.state.clone(),
    });
    Ok(answer.streaming(stream::unfold(socket, Socket::step)))
}

/// The answer that makes the connection a WebSocket.
fn handshake(call: &Call) -> Result<actix_web::HttpResponseBuilder, Problem> {
    let head = call.request.head();
    if let Err(error) = ws::verify_handshake(head) {
        let detail = format!("{error}: open a WebSocket of version {VERSION} at this address");
        let problem = Problem::new(Code::UpgradeRequired, detail);
        return Err(problem
            .with_header(header::UPGRADE, HeaderValue::from_static("websocket"))
            .with_header(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION)));
    }
    // Verified to be there.
    let key = head.headers().get(header::SEC_WEBSOCKET_KEY);
    let accept = ws::hash_key(key.map(HeaderValue::as_bytes).unwrap_or_default());
    let mut answer = HttpResponse::SwitchingProtocols();
    answer.upgrade("websocket");
    answer.insert_header((header::SEC_WEBSOCKET_ACCEPT, &accept[..]));
    Ok(answer)
}

enum Phase {
    Opening,
    Open,
    Closing,
}

/// One open socket: the body of its answer.
struct Socket {
    phase: Phase,
    event: EventId,
    user: Option<UserId>,
    inbox: Inbox,
    feed: Feed,
    pulse: Pulse,
    open: Open,
    state: Data<State>,
}

/// Goes on, or has bytes to send, or has none and ends.
type Turn = ControlFlow<Option<Bytes>>;

impl Socket {
    /// What to send next.
    async fn step(mut self: Box<Self>) -> Option<(Result<Bytes, Infallible>, Box<Self>)> {
        let bytes = match self.phase {
            Phase::Opening => {
                self.phase = Phase::Open;
                self.open.rendered(&Message::connected(self.event))
            }
            Phase::Open => self.next().await?,
            Phase::Closing => return None,
        };
        Some((Ok(bytes), self))
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let turn = tokio::select! {
                () = self.state.shutdown.requested() => {
                    self.closes(End::Ending, CloseCode::Away, "the server ends; connect again")
                }
                came = self.inbox.next() => self.hears(came),
                message = self.feed.next() => self.says(&message),
                () = tokio::time::sleep_until(self.pulse.due_at().into()) => self.beats(),
            };
            if let Break(bytes) = turn {
                return bytes;
            }
        }
    }

    fn hears(&mut self, came: Came) -> Turn {
        if !matches!(came, Came::End) && !self.pulse.hears(Instant::now()) {
            let reason = "too many messages";
            return self.closes(End::TooManyMessages, CloseCode::Policy, reason);
        }
        match came {
            Came::Text(text) => {
                let answer = self.obeys(&text);
                self.says(&answer)
            }
            Came::Life => Continue(()),
            Came::Ping(bytes) => Break(Some(frame(ws::Message::Pong(bytes)))),
            Came::Close(reason) => {
                self.phase = Phase::Closing;
                self.open.ends(End::Closed);
                let code = reason.map_or(CloseCode::Normal, |reason| reason.code);
                Break(Some(frame(ws::Message::Close(Some(code.into())))))
            }
            Came::End => Break(None),
            Came::Wrong(code, reason) => self.closes(End::BadFrame, code, reason),
        }
    }

    /// Does what a client's message asks, and gives the answer.
    fn obeys(&mut self, text: &str) -> Message {
        match serde_json::from_str(text) {
            Ok(Heard::Ping) => Message::pong(),
            Ok(Heard::RegisterWaitingRoom { token }) => self.registers(&token),
            Err(error) => {
                let code = if error.is_data() { Code::ValidationFailed } else { Code::InvalidJson };
                let detail = format!(
                    "{error}; send {{\"type\":\"register_waiting_room\",\"token\":…}} or \
                     {{\"type\":\"ping\"}}"
                );
                Problem::new(code, detail).into()
            }
        }
    }

    fn registers(&mut self, token: &str) -> Message {
        match room::notices(&self.state, self.event, self.user.as_ref(), token) {
            Ok(notices) => {
                self.feed.tell_of_room(token, notices);
                Message::registered(self.event)
            }
            Err(problem) => problem.into(),
        }
    }

    fn beats(&mut self) -> Turn {
        match self.pulse.due(Instant::now()) {
            Due::Ping => Break(Some(frame(ws::Message::Ping(Bytes::new())))),
            Due::Idle => self.closes(End::Idle, CloseCode::Policy, "no answer to pings"),
        }
    }

    fn says(&self, message: &Message) -> Turn {
        Break(Some(self.open.rendered(message)))
    }

    fn closes(&mut self, end: End, code: CloseCode, reason: &'static str) -> Turn {
        self.phase = Phase::Closing;
        self.open.ends(end);
        let reason = CloseReason { code, description: Some(reason.to_owned()) };
        Break(Some(frame(ws::Message::Close(Some(reason)))))
    }
}
