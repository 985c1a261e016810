//! What a WebSocket's client sends, frame by frame, within bounds.

use actix_http::ws::{CloseCode, CloseReason, Codec, Frame, Item, ProtocolError};
use actix_web::web::{Bytes, BytesMut};
use tokio_util::codec::Decoder;

use super::connection::{Lost, WsConnection};

/// Bytes of a message, in one frame or several.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024;
/// Bytes of the longest head of a frame.
const FRAME_HEAD_BYTES_MAX: usize = 14;

/// What came.
#[derive(Debug)]
pub enum Incoming {
    /// A whole text.
    Text(String),
    /// A part of one, or an answer to a ping: a sign of life and no more.
    Life,
    /// A ping, to be answered with the same bytes.
    Ping(Bytes),
    /// The client closes, for this reason.
    Close(Option<CloseReason>),
    /// The client ended the connection.
    End,
    /// The connection is lost.
    Lost(Lost),
    /// Something that nobody may send; the socket is to be closed for this reason.
    Wrong(CloseCode, &'static str),
}

/// Reads a client's frames.
pub struct Inbox {
    codec: Codec,
    /// What has come of a frame that is not whole.
    read: BytesMut,
    /// What has come of a text in several frames.
    parts: Option<Vec<u8>>,
}

impl Inbox {
    /// Goes on with what came behind the handshake.
    pub fn new(read: BytesMut) -> Self {
        Inbox { codec: Codec::new().max_size(MESSAGE_BYTES_MAX), read, parts: None }
    }

    /// The next that comes. May be dropped and asked again.
    pub async fn next(&mut self, wire: &WsConnection) -> Incoming {
        loop {
            if let Some(came) = self.decoded() {
                return came;
            }
            match wire.read(&mut self.read).await {
                Ok(true) => {}
                Ok(false) => return Incoming::End,
                Err(lost) => return Incoming::Lost(lost),
            }
        }
    }

    /// What has come already.
    fn decoded(&mut self) -> Option<Incoming> {
        if self.read.is_empty() {
            return None;
        }
        match self.codec.decode(&mut self.read) {
            Ok(Some(frame)) => {
                // Whole frames leave no memory behind on a quiet socket.
                if self.read.is_empty() {
                    self.read = BytesMut::new();
                }
                Some(self.frame(frame))
            }
            // The codec judges a frame's length only once all of it has come.
            Ok(None) if self.read.len() > FRAME_HEAD_BYTES_MAX + MESSAGE_BYTES_MAX => {
                Some(too_large())
            }
            Ok(None) => None,
            Err(ProtocolError::Overflow) => Some(too_large()),
            Err(_) => {
                Some(Incoming::Wrong(CloseCode::Protocol, "not a frame that a client may send"))
            }
        }
    }

    fn frame(&mut self, frame: Frame) -> Incoming {
        match frame {
            Frame::Text(bytes) => text(bytes.to_vec()),
            Frame::Continuation(Item::FirstText(bytes)) => {
                self.parts = Some(bytes.to_vec());
                Incoming::Life
            }
            Frame::Continuation(Item::Continue(bytes)) => match self.append(&bytes) {
                Ok(()) => Incoming::Life,
                Err(wrong) => wrong,
            },
            Frame::Continuation(Item::Last(bytes)) => match self.append(&bytes) {
                Ok(()) => text(self.parts.take().unwrap_or_default()),
                Err(wrong) => wrong,
            },
            Frame::Binary(_) | Frame::Continuation(Item::FirstBinary(_)) => {
                Incoming::Wrong(CloseCode::Unsupported, "texts alone are understood")
            }
            Frame::Ping(bytes) => Incoming::Ping(bytes),
            Frame::Pong(_) => Incoming::Life,
            Frame::Close(reason) => Incoming::Close(reason),
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Incoming> {
        // The codec lets no part come without a first one.
        let parts = self.parts.get_or_insert_default();
        if parts.len() + bytes.len() > MESSAGE_BYTES_MAX {
            return Err(too_large());
        }
        parts.extend_from_slice(bytes);
        Ok(())
    }
}

fn text(bytes: Vec<u8>) -> Incoming {
    let not_text = Incoming::Wrong(CloseCode::Invalid, "a text is not UTF-8");
    String::from_utf8(bytes).map_or(not_text, Incoming::Text)
}

fn too_large() -> Incoming {
    Incoming::Wrong(CloseCode::Size, "a message may have 4 KiB")
}
