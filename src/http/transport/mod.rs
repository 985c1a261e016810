//! A TCP connection with deadlines, which the HTTP dispatcher reads from and writes to.
//!
//! The dispatcher itself times only a connection's first head. This layer adds:
//!
//! | what | must | otherwise |
//! |---|---|---|
//! | every head, from its first byte | arrive within `http_header_timeout_ms` | 408, and the connection is closed |
//! | the rest of a body that no handler reads | go on within keep-alive, then end within that time | the same |
//! | the next request | begin within keep-alive | the connection is closed |
//! | a response, while it waits for its client | be read at `http_response_bytes_per_second_min` or faster once it has waited for `http_stall_timeout_ms`, and wait for at most `http_response_wait_ms` in total | the connection is reset |
//! | a response, while memory is short | not be among the slowest | the connection is reset |
//!
//! The dispatcher calls `poll_flush` at the end of each of its turns, unless a write has to wait. There,
//! and where a write has to wait, deadlines are checked and the timer is set. Each connection has one
//! timer, which is reset only to an earlier time; when it fires too early, the deadlines are checked
//! again. actix's own keep-alive timer is off: it is allocated, registered and dropped for each request.

mod exchange;
mod pace;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use prometheus::IntCounter;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep_until};

use super::response_memory::{Charge, Listed, ResponseMemory};
use crate::config::Config;
use crate::telemetry::Metrics;

pub use exchange::{Exchange, RequestLimits};
pub use pace::{Pace, PaceLimits};

/// Unsent bytes that the kernel buffers per connection; without a bound they may be megabytes.
const UNSENT_BYTES_MAX: u32 = 128 * 1024;
/// The response to a head that did not arrive in time.
const TIMEOUT_RESPONSE: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// The limits and counters that all connections of one server share.
pub struct TransportLimits {
    request: RequestLimits,
    pace: PaceLimits,
    memory: Arc<ResponseMemory>,
    heads_late: IntCounter,
    too_slow: IntCounter,
}

impl TransportLimits {
    /// The limits of the settings.
    pub fn new(config: &Config, memory: Arc<ResponseMemory>, metrics: &Metrics) -> Self {
        let body_bytes_max = config.http_admin_body_bytes_max.max(config.http_body_bytes_max);
        TransportLimits {
            request: RequestLimits {
                head: Duration::from_millis(config.http_header_timeout_ms),
                keep_alive: Duration::from_secs(config.http_keep_alive_seconds),
                body_bytes_max: body_bytes_max as u64,
            },
            pace: pace_limits(config),
            memory,
            heads_late: metrics.requests_timed_out.clone(),
            too_slow: metrics.responses_cut_off.with_label_values(&["slow"]),
        }
    }
}

/// The limits of the settings for reading responses and messages.
pub fn pace_limits(config: &Config) -> PaceLimits {
    PaceLimits {
        grace: Duration::from_millis(config.http_stall_timeout_ms),
        bytes_per_second_min: config.http_response_bytes_per_second_min,
        waiting_max: Duration::from_millis(config.http_response_wait_ms),
    }
}

/// A connection.
pub struct Transport {
    stream: TcpStream,
    limits: Arc<TransportLimits>,
    exchange: Rc<Exchange>,
    pace: Pace,
    /// Number of the response that `pace` measures.
    measured: u64,
    /// Fires at the next deadline, or earlier.
    timer: Option<Pin<Box<Sleep>>>,
    /// Registered while a response waits for its client.
    listed: Option<Listed>,
    /// The dispatcher's write buffer, while the kernel does not take it.
    buffered: Option<Charge>,
    is_cut_off: bool,
}

impl Transport {
    /// Wraps an accepted connection.
    pub fn new(stream: TcpStream, limits: Arc<TransportLimits>) -> Self {
        bound_unsent(&stream);
        let exchange = Rc::new(Exchange::new(limits.request));
        Transport {
            stream,
            limits,
            exchange,
            pace: Pace::default(),
            measured: 0,
            timer: None,
            listed: None,
            buffered: None,
            is_cut_off: false,
        }
    }

    /// The TCP stream.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The TCP stream, for another protocol than HTTP.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// The client's address.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.stream.peer_addr().ok()
    }

    /// The state that the application updates with its requests and responses.
    pub fn exchange(&self) -> Rc<Exchange> {
        self.exchange.clone()
    }

    /// Fails once the connection has to end.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.is_cut_off {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if self.listed.as_ref().is_some_and(|listed| listed.is_ended(context)) {
            return Err(self.cut_off("memory is short"));
        }
        while let Some(timer) = &mut self.timer {
            if timer.as_mut().poll(context).is_pending() {
                break;
            }
            self.timer = None;
            self.check_deadlines(Instant::now())?;
            self.set_timer();
        }
        Ok(())
    }

    fn check_deadlines(&mut self, now: Instant) -> io::Result<()> {
        if self.request_due().is_some_and(|due| due <= now) {
            self.is_cut_off = true;
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no further request"));
        }
        if self.exchange.head_due().is_some_and(|due| due <= now) {
            self.limits.heads_late.inc();
            // The last response is sent completely, unless its client does not read.
            if self.buffered.is_none() {
                let _ = self.stream.try_write(TIMEOUT_RESPONSE);
            }
            self.is_cut_off = true;
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the request did not arrive"));
        }
        if self.pace.deadline(&self.limits.pace).is_some_and(|due| due <= now) {
            self.limits.too_slow.inc();
            return Err(self.cut_off("the client reads too slowly"));
        }
        Ok(())
    }

    /// Resets the connection, which drops its unsent bytes.
    fn cut_off(&mut self, why: &'static str) -> io::Error {
        self.is_cut_off = true;
        // If this fails, the connection is closed gracefully, and TCP timeouts end it.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        io::Error::new(io::ErrorKind::TimedOut, why)
    }

    /// Until when the next request has to begin; `None` while the client has not read the last response.
    fn request_due(&self) -> Option<Instant> {
        self.exchange.request_due().filter(|_| self.buffered.is_none())
    }

    fn next_deadline(&self) -> Option<Instant> {
        let request = self.exchange.head_due().or(self.request_due());
        let response = self.pace.deadline(&self.limits.pace);
        request.into_iter().chain(response).min()
    }

    /// Sets the timer to the next deadline, unless it fires earlier.
    fn set_timer(&mut self) {
        let Some(due) = self.next_deadline() else { return };
        let due = tokio::time::Instant::from_std(due);
        match &mut self.timer {
            Some(timer) if timer.deadline() <= due => {}
            Some(timer) => timer.as_mut().reset(due),
            None => self.timer = Some(Box::pin(sleep_until(due))),
        }
    }

    /// Starts measuring the next response, where requests are pipelined.
    fn measure_response(&mut self) {
        let number = self.exchange.number();
        if number != self.measured {
            self.measured = number;
            self.pace.restart(Instant::now);
        }
    }

    /// Records that so many bytes wait for the client.
    fn wait(&mut self, bytes: usize) {
        let now = Instant::now();
        // A response is measured as a whole; an endless one while its client is behind.
        if self.exchange.is_endless() && self.pace.has_rested(now) {
            self.pace = Pace::default();
        }
        self.pace.waits(now);
        let memory = &self.limits.memory;
        self.buffered.get_or_insert_with(|| memory.charge(0)).resize(bytes);
        let listed = self.listed.get_or_insert_with(|| memory.list());
        if let Some((waited, per_second)) = self.pace.slowness(now) {
            let pinned = bytes.saturating_add(self.exchange.body_bytes());
            listed.wait(waited, per_second, pinned);
        }
    }

    /// Records that all bytes are written.
    fn note_written(&mut self) {
        if self.buffered.take().is_some() {
            self.exchange.restart_wait();
        }
        if let Some(listed) = &self.listed {
            listed.resume();
        }
        if self.exchange.is_idle() && !self.pace.is_fresh() {
            self.pace = Pace::default();
            self.listed = None;
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_cut_off {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if this.exchange.is_full(context.waker()) {
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        this.exchange.note_read(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.measure_response();
        match Pin::new(&mut this.stream).poll_write(context, bytes) {
            Poll::Ready(Ok(taken)) => {
                this.pace.takes(taken, Instant::now);
                Poll::Ready(Ok(taken))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                this.exchange.end_turn();
                this.wait(bytes.len());
                this.set_timer();
                // The timer and the registration now wake this task.
                this.check(context)?;
                Poll::Pending
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // The dispatcher flushes after it has written everything.
        this.note_written();
        this.exchange.end_turn();
        this.set_timer();
        this.check(context)?;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(target_os = "linux")]
fn bound_unsent(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX) {
        tracing::debug!(%error, "the unsent bytes of a connection are not bounded");
    }
}

#[cfg(not(target_os = "linux"))]
fn bound_unsent(_: &TcpStream) {}
