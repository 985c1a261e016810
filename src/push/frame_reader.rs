//! Reads a WebSocket client's frames, within bounds.

use actix_http::ws::{CloseCode, CloseReason, Codec, Frame, Item, ProtocolError};
use actix_web::web::{Bytes, BytesMut};
use tokio_util::codec::Decoder;

use super::connection::{ConnectionError, WsConnection};

/// Bytes of a message, in one frame or in fragments.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024;
/// Bytes of the longest frame header.
const FRAME_HEAD_BYTES_MAX: usize = 14;

/// Something received from a client.
#[derive(Debug)]
pub enum Incoming {
    /// A complete text message.
    Text(String),
    /// A fragment of a message, or a pong: shows only that the client is alive.
    Alive,
    /// A ping; the pong repeats its bytes.
    Ping(Bytes),
    /// The client closes the socket, for this reason.
    Close(Option<CloseReason>),
    /// The client closed the connection.
    EndOfStream,
    /// The connection failed.
    Failed(ConnectionError),
    /// A protocol violation; the socket is closed for this reason.
    Violation(CloseCode, &'static str),
}

/// Reads a client's frames.
pub struct FrameReader {
    codec: Codec,
    /// Received bytes that are not decoded yet.
    buffer: BytesMut,
    /// The fragments of an incomplete text.
    fragments: Option<Vec<u8>>,
}

impl FrameReader {
    /// Begins with the bytes that the client sent behind the handshake.
    pub fn new(buffer: BytesMut) -> Self {
        FrameReader { codec: Codec::new().max_size(MESSAGE_BYTES_MAX), buffer, fragments: None }
    }

    /// Waits for the next frame. Cancel-safe.
    pub async fn next(&mut self, connection: &WsConnection) -> Incoming {
        loop {
            if let Some(incoming) = self.decode() {
                return incoming;
            }
            match connection.read(&mut self.buffer).await {
                Ok(true) => {}
                Ok(false) => return Incoming::EndOfStream,
                Err(error) => return Incoming::Failed(error),
            }
        }
    }

    /// Decodes a frame from the buffer, if one is complete.
    fn decode(&mut self) -> Option<Incoming> {
        if self.buffer.is_empty() {
            return None;
        }
        match self.codec.decode(&mut self.buffer) {
            Ok(Some(frame)) => {
                // An idle socket keeps no buffer.
                if self.buffer.is_empty() {
                    self.buffer = BytesMut::new();
                }
                Some(self.on_frame(frame))
            }
            // The codec checks a frame's length only once the frame is complete.
            Ok(None) if self.buffer.len() > FRAME_HEAD_BYTES_MAX + MESSAGE_BYTES_MAX => {
                Some(too_large())
            }
            Ok(None) => None,
            Err(ProtocolError::Overflow) => Some(too_large()),
            Err(_) => {
                Some(Incoming::Violation(CloseCode::Protocol, "not a frame that a client may send"))
            }
        }
    }

    fn on_frame(&mut self, frame: Frame) -> Incoming {
        match frame {
            Frame::Text(bytes) => text(bytes.to_vec()),
            Frame::Continuation(Item::FirstText(bytes)) => {
                self.fragments = Some(bytes.to_vec());
                Incoming::Alive
            }
            Frame::Continuation(Item::Continue(bytes)) => match self.append(&bytes) {
                Ok(()) => Incoming::Alive,
                Err(violation) => violation,
            },
            Frame::Continuation(Item::Last(bytes)) => match self.append(&bytes) {
                Ok(()) => text(self.fragments.take().unwrap_or_default()),
                Err(violation) => violation,
            },
            Frame::Binary(_) | Frame::Continuation(Item::FirstBinary(_)) => {
                Incoming::Violation(CloseCode::Unsupported, "only text messages are supported")
            }
            Frame::Ping(bytes) => Incoming::Ping(bytes),
            Frame::Pong(_) => Incoming::Alive,
            Frame::Close(reason) => Incoming::Close(reason),
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Incoming> {
        // The codec accepts no fragment without a first one.
        let fragments = self.fragments.get_or_insert_default();
        if fragments.len() + bytes.len() > MESSAGE_BYTES_MAX {
            return Err(too_large());
        }
        fragments.extend_from_slice(bytes);
        Ok(())
    }
}

fn text(bytes: Vec<u8>) -> Incoming {
    let not_text = Incoming::Violation(CloseCode::Invalid, "a text message must be UTF-8");
    String::from_utf8(bytes).map_or(not_text, Incoming::Text)
}

fn too_large() -> Incoming {
    Incoming::Violation(CloseCode::Size, "a message may have at most 4 KiB")
}
