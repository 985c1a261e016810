//! A WebSocket client that shares no code with the server.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::http::{Client, Raw};

/// Bound of a message that is due.
pub const BOUND: Duration = Duration::from_secs(30);

/// Receive buffer of a client that does not read, bytes: about the system's least.
const STUCK_BUFFER_BYTES: u32 = 4_096;
/// Payload of an Ethernet packet, bytes.
const NETWORK_MSS_BYTES: u32 = 1_460;

/// An open WebSocket.
pub struct Socket {
    stream: WebSocketStream<TcpStream>,
}

impl Client {
    /// Opens a WebSocket and reads its first message.
    pub async fn socket(&self, event: u64) -> Socket {
        self.socket_with(event, "", &[]).await
    }

    /// The same with this query and these headers.
    pub async fn socket_with(
        &self,
        event: u64,
        query: &str,
        headers: &[(&'static str, &str)],
    ) -> Socket {
        let opened = self.try_socket_with(event, query, headers).await;
        let mut socket = opened.expect("an open socket");
        let connected = socket.next_message().await;
        assert_eq!(
            (&connected["type"], &connected["event_id"]),
            (&"connected".into(), &event.into())
        );
        assert_eq!(connected["message"], "Connected");
        socket
    }

    /// Opens a WebSocket with these headers; else the status and code of the refusal.
    pub async fn try_socket(
        &self,
        event: u64,
        headers: &[(&'static str, &str)],
    ) -> Result<Socket, (u16, String)> {
        self.try_socket_with(event, "", headers).await
    }

    /// The same with this query.
    pub async fn try_socket_with(
        &self,
        event: u64,
        query: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Socket, (u16, String)> {
        let url = format!("ws://{}/ws/events/{event}{query}", self.address());
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(self.address()).await.unwrap();
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((stream, _)) => Ok(Socket { stream }),
            Err(Error::Http(refusal)) => {
                let body: Value =
                    serde_json::from_slice(refusal.body().as_deref().unwrap_or_default()).unwrap();
                let error = body["error"].as_str().expect("a problem").to_owned();
                Err((refusal.status().as_u16(), error))
            }
            Err(error) => panic!("neither a socket nor a refusal: {error}"),
        }
    }

    /// Opens a WebSocket whose bytes the test writes itself; reads the response's head.
    pub async fn raw_socket(&self, event: u64) -> Raw {
        let mut raw = self.raw(self.handshake(event).as_bytes()).await;
        let answer = raw.answer(BOUND).await;
        assert_eq!(answer.status, 101);
        // The example of RFC 6455.
        let accept = answer.header("sec-websocket-accept");
        assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        raw
    }
}

impl Client {
    /// Opens a WebSocket with the smallest receive buffer, which is never read.
    pub async fn stuck_socket(&self, event: u64) -> TcpStream {
        self.stuck(&self.handshake(event)).await
    }

    /// Sends a request on a connection with the smallest receive buffer, which is never read.
    pub async fn stuck(&self, request: &str) -> TcpStream {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(STUCK_BUFFER_BYTES).unwrap();
        // As over a network: on this machine alone the system would take megabytes at once.
        socket2::SockRef::from(&socket).set_tcp_mss(NETWORK_MSS_BYTES).unwrap();
        let mut stream = socket.connect(self.address().parse().unwrap()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// The head of a request that opens a WebSocket.
    pub fn handshake(&self, event: u64) -> String {
        format!(
            "GET /ws/events/{event} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.address()
        )
    }
}

impl Socket {
    /// The next message of any kind but pings, which are answered by reading on.
    async fn any(&mut self) -> Option<Message> {
        let next = async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Ping(_))) => {}
                    Some(Ok(message)) => return Some(message),
                    Some(Err(_)) | None => return None,
                }
            }
        };
        // Pings do not prolong it.
        tokio::time::timeout(BOUND, next).await.expect("a message within the bound")
    }

    /// Returns the next message except pings and seat updates.
    pub async fn next(&mut self) -> Option<Message> {
        loop {
            match self.any().await {
                Some(Message::Text(text)) if is_of_seats(&parsed(&text)) => {}
                other => return other,
            }
        }
    }

    /// Returns the next text as JSON.
    pub async fn next_message(&mut self) -> Value {
        match self.any().await {
            Some(Message::Text(text)) => parsed(&text),
            other => panic!("no text: {other:?}"),
        }
    }

    /// Returns the next message that is not about seats, as JSON.
    pub async fn json(&mut self) -> Value {
        match self.next().await {
            Some(Message::Text(text)) => parsed(&text),
            other => panic!("no text: {other:?}"),
        }
    }

    /// The server's code and reason to close, after which the connection ends.
    pub async fn closed(&mut self) -> (CloseCode, String) {
        loop {
            match self.next().await {
                Some(Message::Close(Some(frame))) => {
                    while self.next().await.is_some() {}
                    return (frame.code, frame.reason.to_string());
                }
                Some(_) => {}
                None => panic!("ended without a reason"),
            }
        }
    }

    /// Waits for a ping of the server, and answers it.
    pub async fn pinged(&mut self) {
        let pinged = async {
            while !matches!(self.stream.next().await, Some(Ok(Message::Ping(_)))) {}
            self.stream.flush().await.unwrap();
        };
        tokio::time::timeout(BOUND, pinged).await.expect("a ping within the bound");
    }

    pub async fn send(&mut self, message: Message) {
        self.stream.send(message).await.unwrap();
    }

    /// Sends a text; returns whether it could be sent.
    pub async fn say(&mut self, text: &str) -> bool {
        self.stream.send(Message::text(text)).await.is_ok()
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn is_of_seats(message: &Value) -> bool {
    let kind = message["type"].as_str().expect("a type");
    ["snapshot", "seat_update", "gap"].contains(&kind)
}
