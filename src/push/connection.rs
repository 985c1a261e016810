//! A WebSocket's connection: reads and writes bytes without buffers of its own.

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

/// Bytes of one read; the buffer lives on the stack, so an idle socket does not keep it.
const READ_BYTES: usize = 2 * 1024;
/// The kernel's send buffer, bytes (Linux reserves as much again for its own bookkeeping).
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// An upgraded connection.
pub struct WsConnection {
    stream: TcpStream,
    pace: PaceLimits,
    memory: Arc<ResponseMemory>,
}

/// Why a connection can no longer be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionError {
    /// The connection broke.
    Broken,
    /// The client received nothing for too long, or received data too slowly.
    Stalled,
}

impl WsConnection {
    /// Wraps a connection. Its client must read at least at this pace, and may be disconnected while
    /// memory is short.
    pub fn new(stream: TcpStream, pace: PaceLimits, memory: Arc<ResponseMemory>) -> Self {
        // The default may be megabytes; it stays if it cannot be changed.
        if let Err(error) = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER_BYTES) {
            tracing::debug!(%error, "the send buffer of a socket keeps its default size");
        }
        // Every write is a complete message: Nagle's algorithm would only delay it.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY cannot be set on a socket");
        }
        WsConnection { stream, pace, memory }
    }

    /// Sends all bytes; waits while the kernel's buffer is full.
    ///
    /// # Errors
    /// If the connection broke, or the client reads nothing or too slowly.
    pub async fn send(&self, bytes: &[u8]) -> Result<(), ConnectionError> {
        let sent = self.send_at_pace(bytes).await;
        if sent == Err(ConnectionError::Stalled) {
            // Discards the kernel's buffer, too; otherwise it would be sent as slowly.
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
        sent
    }

    async fn send_at_pace(&self, mut bytes: &[u8]) -> Result<(), ConnectionError> {
        let (mut pace, listed, pinned) = (Pace::default(), self.memory.list(), bytes.len());
        while !bytes.is_empty() {
            let now = Instant::now();
            pace.waits(now);
            if let Some((waited, per_second)) = pace.slowness(now) {
                listed.wait(waited, per_second, pinned);
            }
            // The connection waits, so it has a deadline.
            let due = pace.deadline(&self.pace).unwrap_or(now);
            let ended = poll_fn(|context| match listed.is_ended(context) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            });
            tokio::select! {
                biased;
                () = ended => return Err(ConnectionError::Stalled),
                room = tokio::time::timeout_at(due.into(), self.stream.writable()) => {
                    room.map_err(|_| ConnectionError::Stalled)?.map_err(connection_error)?;
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

    /// Sends what fits into the kernel's buffer; returns the number of bytes.
    ///
    /// # Errors
    /// If the connection broke, or the client received nothing for too long.
    pub fn try_send(&self, bytes: &[u8]) -> Result<usize, ConnectionError> {
        match self.stream.try_write(bytes) {
            Ok(sent) => Ok(sent),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(connection_error(error)),
        }
    }

    /// Appends received bytes; returns false at the end of the stream. Cancel-safe.
    ///
    /// # Errors
    /// If the connection broke, or the kernel closed it because the client received nothing.
    pub async fn read(&self, into: &mut BytesMut) -> Result<bool, ConnectionError> {
        loop {
            poll_fn(|context| self.stream.poll_read_ready(context))
                .await
                .map_err(connection_error)?;
            if let Some(read) = self.try_read(into)? {
                return Ok(read > 0);
            }
        }
    }

    fn try_read(&self, into: &mut BytesMut) -> Result<Option<usize>, ConnectionError> {
        let mut buffer = [0; READ_BYTES];
        match self.stream.try_read(&mut buffer) {
            Ok(read) => {
                into.extend_from_slice(&buffer[..read]);
                Ok(Some(read))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(connection_error(error)),
        }
    }

    /// Closes the connection; the client has a moment to receive what was sent.
    pub async fn close(self) {
        upgrade::close(self.stream).await;
    }
}

/// The kernel closes a connection that received nothing for `http_stall_timeout_ms` with this error kind.
fn connection_error(error: io::Error) -> ConnectionError {
    match error.kind() {
        io::ErrorKind::TimedOut => ConnectionError::Stalled,
        _ => ConnectionError::Broken,
    }
}
