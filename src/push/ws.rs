//! `/ws/events/{event_id}`: a WebSocket (RFC 6455).

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_http::ws::{self, CloseCode, CloseReason};
use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{Bytes, BytesMut, Data, Payload};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep_until};

use super::connection::WsConnection;
use super::feed::Feed;
use super::heartbeat::{Due, Heartbeat};
use super::inbox::{Inbox, Incoming};
use super::message::{ClientMessage, Message, frame};
use super::seats::Wishes;
use super::sockets::{End, Kind, Open};
use super::{origin, room};
use crate::api::endpoint::Answer;
use crate::api::openapi::SocketProblems;
use crate::api::state::{RequestContext, State};
use crate::domain::{EventId, RouteClass, UserId};
use crate::http::connections::{self, Connection};
use crate::http::params::{Query, event_id};
use crate::http::problem::{Code, Problem};
use crate::http::transport::pace_limits;
use crate::http::upgrade::Successor;

/// The version of the protocol that there is.
const VERSION: &str = "13";

/// Open a WebSocket
///
/// Texts of one JSON object each, both ways. The server says `connected` first, then `snapshot` and, as
/// seats change, `seat_update`s; with `since` it goes on from there, or tells a `gap` before the snapshot. To a user
/// who is known it tells `booking_expired`. After `register_waiting_room` with the token that joining gave it
/// says `registration_confirmed`, and then, unasked, the position, `admitted`, or why it will not be. It pings;
/// a client that does not answer, sends more than 10 frames a second, or more than 4 KiB in one, is closed with
/// a reason.
#[utoipa::path(
    get, path = "/ws/events/{event_id}", tag = "events",
    params(
        ("event_id" = u32, Path, description = "The event"),
        ("since" = Option<String>, Query, description = "What was told before, `generation-version`"),
        ("snapshot" = Option<String>, Query, description = "`none`: the client fetches the seat map by itself"),
    ),
    responses(
        (status = 101, description = "The socket; messages are as for `/api/v1/events/{event_id}/stream`"),
        SocketProblems,
    ),
)]
pub async fn open(context: RequestContext, _: Payload) -> Answer {
    let caller = context.gates().pass(&context.head, RouteClass::Push).await?;
    origin::check(&context)?;
    let event = event_id(&context.http)?;
    let wishes = Wishes::of(&context, &Query::of(&context.http)?)?;
    let mut answer = handshake(&context)?;
    context.state.sale.known_event(event).await?;
    let is_ending = context.state.shutdown.is_requested();
    let open = context.state.sockets.open(&caller, Kind::WebSocket, is_ending)?;
    let (user, state) = (caller.user, context.state.clone());
    let connection = connections::of(&context.http);
    let successor = Successor::new(move |stream, read| {
        let mut seats = state.boards.follow(event, Kind::WebSocket, wishes);
        let connected = Message::connected(event, seats.mark());
        let feed = Feed::new(&state, event, seats, user.as_ref());
        let socket = Socket::new(event, user, feed, open, state, connection);
        socket.lives(stream, read, connected)
    });
    let mut answer = answer.finish();
    successor.succeed(&mut answer);
    Ok(answer)
}

/// The answer that makes the connection a WebSocket.
fn handshake(context: &RequestContext) -> Result<actix_web::HttpResponseBuilder, Problem> {
    let head = context.http.head();
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

/// One open socket.
struct Socket {
    event: EventId,
    user: Option<UserId>,
    feed: Feed,
    pulse: Heartbeat,
    open: Open,
    state: Data<State>,
    /// Counts as one of its address.
    _connection: Option<Arc<Connection>>,
}

/// What comes of something that happened.
enum Turn {
    /// Nothing.
    Waits,
    /// Bytes to send.
    Says(Bytes),
    /// The last bytes, if the connection is still there.
    Ends(Option<Bytes>),
}

impl Socket {
    fn new(
        event: EventId,
        user: Option<UserId>,
        feed: Feed,
        open: Open,
        state: Data<State>,
        connection: Option<Arc<Connection>>,
    ) -> Self {
        let config = &state.config;
        let pulse = Heartbeat::new(
            Instant::now(),
            Duration::from_millis(config.socket_ping_interval_ms),
            Duration::from_millis(config.socket_idle_timeout_ms),
            rand::random(),
        );
        Socket { event, user, feed, pulse, open, state, _connection: connection }
    }

    /// Says and hears until one side ends.
    async fn lives(mut self, stream: TcpStream, read: BytesMut, first: Message) {
        let pace = pace_limits(&self.state.config);
        let wire = WsConnection::new(stream, pace, self.state.memory.clone());
        let mut inbox = Inbox::new(read);
        // Both last as long as the socket: ten thousand that are told something need not set theirs anew.
        let shutdown = self.state.shutdown.clone();
        let mut ending = pin!(shutdown.requested());
        let mut alarm = pin!(sleep_until(self.pulse.due_at().into()));
        let mut bytes = self.open.rendered(&first);
        let last = loop {
            if !self.sends(&wire, &bytes, ending.as_mut()).await {
                return;
            }
            // Others share them: they are not kept until the next.
            drop(bytes);
            match self.next(&wire, &mut inbox, ending.as_mut(), alarm.as_mut()).await {
                Ok(more) => bytes = more,
                Err(last) => break last,
            }
        };
        // Who has no room for it does not read.
        if let Some(bytes) = last
            && wire.try_send(&bytes).is_ok()
        {
            // Its place is free meanwhile.
            drop(self);
            wire.close().await;
        }
    }

    /// Sends bytes; false if that is its end.
    async fn sends(
        &mut self,
        wire: &WsConnection,
        bytes: &[u8],
        ending: Pin<&mut impl Future<Output = ()>>,
    ) -> bool {
        let sent = match wire.try_send(bytes) {
            Ok(sent) if sent == bytes.len() => Ok(()),
            Ok(sent) => tokio::select! {
                sent = wire.send(&bytes[sent..]) => sent,
                () = ending => {
                    self.open.ends(End::Ending);
                    return false;
                }
            },
            Err(lost) => Err(lost),
        };
        if let Err(lost) = sent {
            self.open.ends(lost.into());
        }
        sent.is_ok()
    }

    /// What to send next, or last.
    async fn next(
        &mut self,
        wire: &WsConnection,
        inbox: &mut Inbox,
        mut ending: Pin<&mut impl Future<Output = ()>>,
        mut alarm: Pin<&mut Sleep>,
    ) -> Result<Bytes, Option<Bytes>> {
        loop {
            let turn = tokio::select! {
                // Clients cannot say much in a second: nobody is kept waiting by them.
                biased;
                () = ending.as_mut() => {
                    self.closes(End::Ending, CloseCode::Away, "the server ends; connect again")
                }
                () = alarm.as_mut() => {
                    let turn = self.beats();
                    alarm.as_mut().reset(self.pulse.due_at().into());
                    turn
                }
                came = inbox.next(wire) => self.hears(came),
                news = self.feed.next() => Turn::Says(self.open.told(news)),
            };
            match turn {
                Turn::Waits => {}
                Turn::Says(bytes) => return Ok(bytes),
                Turn::Ends(last) => return Err(last),
            }
        }
    }

    fn hears(&mut self, came: Incoming) -> Turn {
        if !matches!(came, Incoming::End | Incoming::Lost(_)) && !self.pulse.hears(Instant::now()) {
            let reason = "too many messages";
            return self.closes(End::TooManyMessages, CloseCode::Policy, reason);
        }
        match came {
            Incoming::Text(text) => {
                let answer = self.obeys(&text);
                self.says(&answer)
            }
            Incoming::Life => Turn::Waits,
            Incoming::Ping(bytes) => Turn::Says(frame(ws::Message::Pong(bytes))),
            Incoming::Close(reason) => {
                self.open.ends(End::Closed);
                let code = reason.map_or(CloseCode::Normal, |reason| reason.code);
                Turn::Ends(Some(frame(ws::Message::Close(Some(code.into())))))
            }
            Incoming::End => Turn::Ends(None),
            Incoming::Lost(lost) => {
                self.open.ends(lost.into());
                Turn::Ends(None)
            }
            Incoming::Wrong(code, reason) => self.closes(End::BadFrame, code, reason),
        }
    }

    /// Does what a client's message asks, and gives the answer.
    fn obeys(&mut self, text: &str) -> Message {
        match serde_json::from_str(text) {
            Ok(ClientMessage::Ping) => Message::pong(),
            Ok(ClientMessage::RegisterWaitingRoom { token }) => self.registers(&token),
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
        match room::news(&self.state, self.event, self.user.as_ref(), token) {
            Ok((news, owner)) => {
                self.feed.tell_of_room(news);
                if self.user.is_none() {
                    self.feed.tell_of_holds(&self.state, self.event, &owner);
                }
                Message::registered(self.event)
            }
            Err(problem) => problem.into(),
        }
    }

    fn beats(&mut self) -> Turn {
        match self.pulse.due(Instant::now()) {
            Due::Nothing => Turn::Waits,
            Due::Ping => Turn::Says(frame(ws::Message::Ping(Bytes::new()))),
            Due::Idle => self.closes(End::Idle, CloseCode::Policy, "no answer to pings"),
        }
    }

    fn says(&self, message: &Message) -> Turn {
        Turn::Says(self.open.rendered(message))
    }

    fn closes(&mut self, end: End, code: CloseCode, reason: &'static str) -> Turn {
        self.open.ends(end);
        let reason = CloseReason { code, description: Some(reason.to_owned()) };
        Turn::Ends(Some(frame(ws::Message::Close(Some(reason)))))
    }
}
