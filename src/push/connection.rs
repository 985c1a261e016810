//! A WebSocket's connection: bytes in and out, with nothing kept between.

use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use actix_web::web::BytesMut;
use futures_util::future::poll_fn;
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::http::response_memory::ResponseMemory;
use crate::http::transport::{Pace, PaceLimits};
use crate::http::upgrade;

/// Bytes of one read. Not kept by a socket that waits.
const READ_BYTES: usize = 2 * 1024;
/// What the system keeps of what was sent and not taken, bytes (Linux keeps as much again for itself).
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// A connection that was upgraded.
pub struct WsConnection {
    stream: TcpStream,
    pace: PaceLimits,
    memory: Arc<ResponseMemory>,
}

/// Why a connection takes no bytes any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It broke.
    Gone,
    /// The client took nothing for too long, or took what it was sent too slowly.
    Stalled,
}

impl WsConnection {
    /// Over this connection, whose client has to keep this pace and is among those who are ended
    /// while memory is short.
    pub fn new(stream: TcpStream, pace: PaceLimits, memory: Arc<ResponseMemory>) -> Self {
        // Else it may be megabytes. Where it cannot be set it stays what it is.
        if let Err(error) = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER_BYTES) {
            tracing::debug!(%error, "a socket's buffer is not bounded");
        }
        // What is told is whole: nothing is gained by waiting for more.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a socket's messages may be held back");
        }
        WsConnection { stream, pace, memory }
    }

    /// Sends all of it; waits while the system has no room.
    ///
    /// # Errors
    /// If the client is gone, takes nothing, or too slowly.
    pub async fn send(&self, bytes: &[u8]) -> Result<(), Lost> {
        let sent = self.send_at_pace(bytes).await;
        if sent == Err(Lost::Stalled) {
            // What the system keeps for it goes, too; else that would be sent as slowly.
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
        sent
    }

    async fn send_at_pace(&self, mut bytes: &[u8]) -> Result<(), Lost> {
        let (mut pace, listed, pinned) = (Pace::default(), self.memory.list(), bytes.len());
        while !bytes.is_empty() {
            let now = Instant::now();
            pace.waits(now);
            if let Some((waited, per_second)) = pace.slowness(now) {
                listed.waits(waited, per_second, pinned);
            }
            // It waits, so there is one.
            let due = pace.deadline(&self.pace).unwrap_or(now);
            let ended = poll_fn(|context| match listed.is_ended(context) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            });
            tokio::select! {
                biased;
                () = ended => return Err(Lost::Stalled),
                room = tokio::time::timeout_at(due.into(), self.stream.writable()) => {
                    room.map_err(|_| Lost::Stalled)?.map_err(lost)?;
                }
            }
            let sent = self.try_send(bytes)?;
            if sent > 0 {
                pace.takes(sent, Instant::now);
            }
            bytes = &bytes[sent..];
        }
        Ok(())
    }

    /// Sends what the system has room for; how much that was.
    ///
    /// # Errors
    /// If the client is gone, or took nothing for too long.
    pub fn try_send(&self, bytes: &[u8]) -> Result<usize, Lost> {
        match self.stream.try_write(bytes) {
            Ok(sent) => Ok(sent),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(lost(error)),
        }
    }

    /// Appends what comes next; false at the end. May be dropped and asked again.
    ///
    /// # Errors
    /// If the connection broke, or the system closed it because the client took nothing.
    pub async fn read(&self, into: &mut BytesMut) -> Result<bool, Lost> {
        loop {
            poll_fn(|context| self.stream.poll_read_ready(context)).await.map_err(lost)?;
            if let Some(read) = self.take(into)? {
                return Ok(read > 0);
            }
        }
    }

    fn take(&self, into: &mut BytesMut) -> Result<Option<usize>, Lost> {
        let mut buffer = [0; READ_BYTES];
        match self.stream.try_read(&mut buffer) {
            Ok(read) => {
                into.extend_from_slice(&buffer[..read]);
                Ok(Some(read))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(lost(error)),
        }
    }

    /// Ends it; the client has a moment to take what was sent.
    pub async fn close(self) {
        upgrade::close(self.stream).await;
    }
}

/// The system closes a connection that took nothing for `http_stall_timeout_ms`, and says so.
fn lost(error: io::Error) -> Lost {
    match error.kind() {
        io::ErrorKind::TimedOut => Lost::Stalled,
        _ => Lost::Gone,
    }
}
