//! A WebSocket's exchange of messages (RFC 6455), after the handshake.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_http::ws::{self, CloseCode, CloseReason};
use actix_web::web::{Bytes, BytesMut};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep_until};

use super::connection::WsConnection;
use super::feed::{Feed, RoomMessages};
use super::frame_reader::{FrameReader, Incoming};
use super::heartbeat::{Heartbeat, HeartbeatAction};
use super::message::{ClientMessage, Message, ws_frame};
use super::protocol::Protocol;
use super::seat_updates::StartOptions;
use super::sockets::{EndReason, OpenSocket};
use super::state::PushState;
use crate::domain::{EventId, UserId};
use crate::http::connections::Connection;
use crate::http::problem::{Code, Problem};
use crate::http::transport::pace_limits;

/// Verifies a waiting room token for the identified user, if any, and returns the room's messages.
pub type RegisterRoom = Box<dyn Fn(Option<&UserId>, &str) -> Result<RoomMessages, Problem>>;

/// What a WebSocket needs from the request that opened it.
pub struct WsRequest {
    /// The event.
    pub event: EventId,
    /// The identified user.
    pub user: Option<UserId>,
    /// Where updates begin.
    pub start: StartOptions,
    /// The registered socket.
    pub socket: OpenSocket,
    /// Handles `register_waiting_room`.
    pub register_room: RegisterRoom,
    /// The connection, which counts for its address while the socket lives.
    pub connection: Option<Arc<Connection>>,
}

/// Runs a WebSocket until one side closes it. `read` is what the client sent behind its request.
///
/// Not an `async fn`: the future then holds the session only once, and every open socket holds the future.
pub fn run(
    push: Arc<PushState>,
    request: WsRequest,
    stream: TcpStream,
    read: BytesMut,
) -> impl Future<Output = ()> {
    let mut seats = push.channels.subscribe(request.event, Protocol::WebSocket, request.start);
    let connected = Message::connected(request.event, seats.begin());
    let feed = Feed::new(&push, request.event, seats, request.user.as_ref());
    let heartbeat = Heartbeat::new(
        Instant::now(),
        Duration::from_millis(push.config.socket_ping_interval_ms),
        Duration::from_millis(push.config.socket_idle_timeout_ms),
        rand::random(),
    );
    let WsRequest { event, user, socket, register_room, connection, .. } = request;
    let session = Session {
        event,
        user,
        feed,
        heartbeat,
        socket,
        register_room,
        push,
        _connection: connection,
    };
    session.run(stream, read, connected)
}

/// One open WebSocket.
struct Session {
    event: EventId,
    user: Option<UserId>,
    feed: Feed,
    heartbeat: Heartbeat,
    socket: OpenSocket,
    register_room: RegisterRoom,
    push: Arc<PushState>,
    /// Counts for its address.
    _connection: Option<Arc<Connection>>,
}

/// What to do after something happened.
enum Action {
    /// Nothing.
    Wait,
    /// Send these bytes.
    Send(Bytes),
    /// End the socket, after these last bytes if the connection still works.
    End(Option<Bytes>),
}

impl Session {
    async fn run(mut self, stream: TcpStream, read: BytesMut, first: Message) {
        let pace = pace_limits(&self.push.config);
        let connection = WsConnection::new(stream, pace, self.push.memory.clone());
        let mut reader = FrameReader::new(read);
        // Both futures live as long as the socket: an update for ten thousand sockets need not
        // register ten thousand timers.
        let shutdown = self.push.shutdown.clone();
        let mut ending = pin!(shutdown.requested());
        let mut alarm = pin!(sleep_until(self.heartbeat.due_at().into()));
        let mut bytes = self.socket.encode(&first);
        let last = loop {
            if !self.send(&connection, &bytes, ending.as_mut()).await {
                return;
            }
            // Shared bytes are released before the wait for the next message.
            drop(bytes);
            match self.next(&connection, &mut reader, ending.as_mut(), alarm.as_mut()).await {
                Ok(more) => bytes = more,
                Err(last) => break last,
            }
        };
        // A client whose buffer is full does not read; it gets no close frame.
        if let Some(bytes) = last
            && connection.try_send(&bytes).is_ok()
        {
            // Frees the socket's permit before the closing handshake.
            drop(self);
            connection.close().await;
        }
    }

    /// Sends bytes; returns false if the socket ends.
    async fn send(
        &mut self,
        connection: &WsConnection,
        bytes: &[u8],
        ending: Pin<&mut impl Future<Output = ()>>,
    ) -> bool {
        let sent = match connection.try_send(bytes) {
            Ok(sent) if sent == bytes.len() => Ok(()),
            Ok(sent) => tokio::select! {
                sent = connection.send(&bytes[sent..]) => sent,
                () = ending => {
                    self.socket.set_end(EndReason::Ending);
                    return false;
                }
            },
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            self.socket.set_end(error.into());
        }
        sent.is_ok()
    }

    /// The next bytes to send, or (as an error) the last ones.
    async fn next(
        &mut self,
        connection: &WsConnection,
        reader: &mut FrameReader,
        mut ending: Pin<&mut impl Future<Output = ()>>,
        mut alarm: Pin<&mut Sleep>,
    ) -> Result<Bytes, Option<Bytes>> {
        loop {
            let action = tokio::select! {
                // Clients are limited to a few frames a second: reading first delays no update.
                biased;
                () = ending.as_mut() => {
                    self.close(EndReason::Ending, CloseCode::Away, "the server ends; connect again")
                }
                () = alarm.as_mut() => {
                    let action = self.on_heartbeat();
                    alarm.as_mut().reset(self.heartbeat.due_at().into());
                    action
                }
                incoming = reader.next(connection) => self.on_incoming(incoming),
                item = self.feed.next() => Action::Send(self.socket.encode_item(item)),
            };
            match action {
                Action::Wait => {}
                Action::Send(bytes) => return Ok(bytes),
                Action::End(last) => return Err(last),
            }
        }
    }

    fn on_incoming(&mut self, incoming: Incoming) -> Action {
        let is_frame = !matches!(incoming, Incoming::EndOfStream | Incoming::Failed(_));
        if is_frame && !self.heartbeat.record_frame(Instant::now()) {
            let reason = "too many messages";
            return self.close(EndReason::TooManyMessages, CloseCode::Policy, reason);
        }
        match incoming {
            Incoming::Text(text) => {
                let reply = self.on_text(&text);
                self.send_message(&reply)
            }
            Incoming::Alive => Action::Wait,
            Incoming::Ping(bytes) => Action::Send(ws_frame(ws::Message::Pong(bytes))),
            Incoming::Close(reason) => {
                self.socket.set_end(EndReason::Closed);
                let code = reason.map_or(CloseCode::Normal, |reason| reason.code);
                Action::End(Some(ws_frame(ws::Message::Close(Some(code.into())))))
            }
            Incoming::EndOfStream => Action::End(None),
            Incoming::Failed(error) => {
                self.socket.set_end(error.into());
                Action::End(None)
            }
            Incoming::Violation(code, reason) => self.close(EndReason::BadFrame, code, reason),
        }
    }

    /// Carries out a client's message; returns the reply.
    fn on_text(&mut self, text: &str) -> Message {
        match serde_json::from_str(text) {
            Ok(ClientMessage::Ping) => Message::pong(),
            Ok(ClientMessage::RegisterWaitingRoom { token }) => self.register_room(&token),
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

    fn register_room(&mut self, token: &str) -> Message {
        match (self.register_room)(self.user.as_ref(), token) {
            Ok(room) => {
                self.feed.add_room(room.messages);
                if self.user.is_none() {
                    self.feed.watch_expiries(&self.push, self.event, &room.owner);
                }
                Message::registered(self.event)
            }
            Err(problem) => problem.into(),
        }
    }

    fn on_heartbeat(&mut self) -> Action {
        match self.heartbeat.next_action(Instant::now()) {
            HeartbeatAction::None => Action::Wait,
            HeartbeatAction::Ping => Action::Send(ws_frame(ws::Message::Ping(Bytes::new()))),
            HeartbeatAction::TimedOut => {
                self.close(EndReason::Idle, CloseCode::Policy, "no answer to pings")
            }
        }
    }

    fn send_message(&self, message: &Message) -> Action {
        Action::Send(self.socket.encode(message))
    }

    fn close(&mut self, end: EndReason, code: CloseCode, reason: &'static str) -> Action {
        self.socket.set_end(end);
        let reason = CloseReason { code, description: Some(reason.to_owned()) };
        Action::End(Some(ws_frame(ws::Message::Close(Some(reason)))))
    }
}
