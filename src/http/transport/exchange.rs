//! The state of one connection's requests and responses: whether one is in progress, when the next
//! head has to arrive, how many bytes were read meanwhile.
//!
//! The transport records bytes, the application requests and responses, both on the connection's thread.

use std::cell::{Cell, RefCell};
use std::task::Waker;
use std::time::{Duration, Instant};

use actix_http::body::BodySize;
use actix_web::dev::Payload;
use actix_web::http::Method;

/// Bytes that may be read beyond a request and its body while it is in progress: pipelined requests.
const READ_AHEAD_MAX: u64 = 64 * 1024;
/// The last bytes of a head, and so of a request without a body.
const HEAD_END: [u8; 4] = *b"\r\n\r\n";

/// Limits of a client's requests.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// From a head's first byte to its last.
    pub head: Duration,
    /// From a response to the next request's first byte.
    pub keep_alive: Duration,
    /// Bytes of the largest body that any route accepts.
    pub body_bytes_max: u64,
}

/// What a connection waits for between two requests, and until when: `None` until the dispatcher's turn
/// ends ([`Exchange::end_turn`]), as most waits do not last until then.
#[derive(Clone, Copy, Debug)]
enum Awaited {
    /// Nothing: a request is in progress, or none has begun yet.
    Nothing,
    /// The first byte of the next request.
    Request(Option<Instant>),
    /// The rest of a head.
    Head(Option<Instant>),
}

/// The state of one connection.
pub struct Exchange {
    limits: RequestLimits,
    /// Requests whose responses are not yet complete; more than one only for a moment.
    in_progress: Cell<u32>,
    /// Number of requests so far.
    begun: Cell<u64>,
    has_body: Cell<bool>,
    awaited: Cell<Awaited>,
    read_meanwhile: Cell<u64>,
    read_meanwhile_max: Cell<u64>,
    /// The last bytes that were read.
    tail: Cell<[u8; 4]>,
    /// Woken once more bytes may be read.
    reader: RefCell<Option<Waker>>,
    /// A handler that is to be polled once more.
    handler: RefCell<Option<Waker>>,
    /// Whether the response is an event stream, which has no end.
    is_endless: Cell<bool>,
    /// Bytes that the response pins in memory.
    body_bytes: Cell<usize>,
}

impl Exchange {
    /// The state of a new connection.
    pub fn new(limits: RequestLimits) -> Self {
        Exchange {
            limits,
            in_progress: Cell::new(0),
            begun: Cell::new(0),
            has_body: Cell::new(false),
            awaited: Cell::new(Awaited::Nothing),
            read_meanwhile: Cell::new(0),
            read_meanwhile_max: Cell::new(0),
            tail: Cell::new(HEAD_END),
            reader: RefCell::new(None),
            handler: RefCell::new(None),
            is_endless: Cell::new(false),
            body_bytes: Cell::new(0),
        }
    }

    /// Records a request that goes to its handler.
    pub fn begin(&self, request: &actix_web::dev::ServiceRequest) {
        self.in_progress.set(self.in_progress.get() + 1);
        self.begun.set(self.begun.get().wrapping_add(1));
        self.awaited.set(Awaited::Nothing);
        self.is_endless.set(false);
        let has_body = !matches!(request.parts().1, Payload::None);
        self.has_body.set(has_body);
        self.read_meanwhile.set(0);
        let is_read = has_body && !matches!(*request.method(), Method::GET | Method::HEAD);
        let body_bytes = if is_read { self.limits.body_bytes_max } else { 0 };
        self.read_meanwhile_max.set(READ_AHEAD_MAX + body_bytes);
    }

    /// Records the response, before it is sent.
    pub fn respond(&self, size: BodySize, is_endless: bool) {
        self.is_endless.set(is_endless);
        self.body_bytes.set(match size {
            BodySize::Sized(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
            BodySize::None | BodySize::Stream => 0,
        });
    }

    /// Records that the response is complete, or abandoned.
    pub fn end(&self) {
        self.in_progress.set(self.in_progress.get().saturating_sub(1));
        if self.in_progress.get() > 0 {
            return;
        }
        self.awaited.set(match !self.has_body.get() && self.tail.get() != HEAD_END {
            // The next head has begun.
            true => Awaited::Head(None),
            // After a body it may have begun, too: where the body ends is not known here.
            false => Awaited::Request(None),
        });
        if let Some(reader) = self.reader.borrow_mut().take() {
            reader.wake();
        }
    }

    /// Records bytes that were read.
    pub fn note_read(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut tail = self.tail.get();
        let new = &bytes[bytes.len().saturating_sub(tail.len())..];
        tail.rotate_left(new.len());
        let kept = tail.len() - new.len();
        tail[kept..].copy_from_slice(new);
        self.tail.set(tail);
        if self.in_progress.get() > 0 {
            self.read_meanwhile.set(self.read_meanwhile.get().saturating_add(bytes.len() as u64));
        } else if !matches!(self.awaited.get(), Awaited::Head(_)) {
            self.awaited.set(Awaited::Head(None));
        }
    }

    /// Whether as many bytes were read as one request may have; then the waker is woken when it is done.
    pub fn is_full(&self, waker: &Waker) -> bool {
        let is_full = self.in_progress.get() > 0
            && self.read_meanwhile.get() >= self.read_meanwhile_max.get();
        if is_full {
            *self.reader.borrow_mut() = Some(waker.clone());
        }
        is_full
    }

    /// Has a handler polled once more: by the dispatcher's own accord in this turn, which costs no
    /// wake-up, else in the next one.
    pub fn poll_handler_again(&self, waker: &Waker) {
        *self.handler.borrow_mut() = Some(waker.clone());
    }

    /// Records that the handler was polled once more.
    pub fn note_handler_polled(&self) {
        self.handler.borrow_mut().take();
    }

    /// Ends a turn of the dispatcher: waits that began in it have a deadline from now on.
    pub fn end_turn(&self) {
        if let Some(handler) = self.handler.borrow_mut().take() {
            handler.wake();
        }
        self.awaited.set(match self.awaited.get() {
            Awaited::Request(None) => {
                Awaited::Request(Some(Instant::now() + self.limits.keep_alive))
            }
            Awaited::Head(None) => Awaited::Head(Some(Instant::now() + self.limits.head)),
            other => other,
        });
    }

    /// Deadline of a head that has begun.
    pub fn head_due(&self) -> Option<Instant> {
        match self.awaited.get() {
            Awaited::Head(due) => due,
            _ => None,
        }
    }

    /// Until when the next request has to begin.
    pub fn request_due(&self) -> Option<Instant> {
        match self.awaited.get() {
            Awaited::Request(due) => due,
            _ => None,
        }
    }

    /// Restarts the wait for the next request.
    pub fn restart_wait(&self) {
        if matches!(self.awaited.get(), Awaited::Request(_)) {
            self.awaited.set(Awaited::Request(None));
        }
    }

    /// The number of the current request.
    pub fn number(&self) -> u64 {
        self.begun.get()
    }

    /// Whether no response is in progress.
    pub fn is_idle(&self) -> bool {
        self.in_progress.get() == 0
    }

    /// Whether the response is endless.
    pub fn is_endless(&self) -> bool {
        self.is_endless.get()
    }

    /// Bytes that the response pins in memory, if its size is known.
    pub fn body_bytes(&self) -> usize {
        if self.in_progress.get() > 0 { self.body_bytes.get() } else { 0 }
    }
}
