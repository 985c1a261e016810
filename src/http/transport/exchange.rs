//! One connection's requests and responses, as far as its transport has to know them: whether one is
//! under way, when the head that is being read began, how much was read meanwhile.
//!
//! The transport sees bytes, the application requests; both write down here what they see. They are
//! on the connection's own thread.

use std::cell::{Cell, RefCell};
use std::task::Waker;
use std::time::{Duration, Instant};

use actix_http::body::BodySize;
use actix_web::http::{Method, header};

/// Bytes that may be read beyond a request and its body while it is under way: what clients pipeline.
const READ_AHEAD_MAX: u64 = 64 * 1024;
/// The end of a head, and of a request without a body.
const HEAD_END: [u8; 4] = *b"\r\n\r\n";

/// How long a client may take to ask.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// From a head's first byte to its last.
    pub head: Duration,
    /// Between two requests.
    pub keep_alive: Duration,
    /// Bytes of the largest body that any route takes.
    pub body_bytes_max: u64,
}

/// One connection's state.
pub struct Exchange {
    limits: RequestLimits,
    /// Requests whose responses are not yet rendered to their ends; more than one only in passing.
    under_way: Cell<u32>,
    /// How many there were.
    begun: Cell<u64>,
    has_body: Cell<bool>,
    /// Until when the head that has begun has to be here.
    head_due: Cell<Option<Instant>>,
    /// Until when the next request has to be here: bytes of the last one's body may still be coming.
    next_due: Cell<Option<Instant>>,
    read_meanwhile: Cell<u64>,
    read_meanwhile_max: Cell<u64>,
    /// The last bytes that were read.
    tail: Cell<[u8; 4]>,
    /// Whom to wake once more may be read.
    reader: RefCell<Option<Waker>>,
    /// Whether the response has no end: an event stream.
    is_endless: Cell<bool>,
    /// Bytes that the response keeps in memory.
    body_bytes: Cell<usize>,
}

impl Exchange {
    /// A new connection.
    pub fn new(limits: RequestLimits) -> Self {
        Exchange {
            limits,
            under_way: Cell::new(0),
            begun: Cell::new(0),
            has_body: Cell::new(false),
            head_due: Cell::new(None),
            next_due: Cell::new(None),
            read_meanwhile: Cell::new(0),
            read_meanwhile_max: Cell::new(0),
            tail: Cell::new(HEAD_END),
            reader: RefCell::new(None),
            is_endless: Cell::new(false),
            body_bytes: Cell::new(0),
        }
    }

    /// A request has arrived and goes to its handler.
    pub fn begin(&self, request: &actix_web::dev::ServiceRequest) {
        self.under_way.set(self.under_way.get() + 1);
        self.begun.set(self.begun.get().wrapping_add(1));
        self.head_due.set(None);
        self.next_due.set(None);
        self.is_endless.set(false);
        let has_body = self.has_body_of(request);
        self.has_body.set(has_body);
        self.read_meanwhile.set(0);
        let is_read = has_body && !matches!(*request.method(), Method::GET | Method::HEAD);
        let body_bytes = if is_read { self.limits.body_bytes_max } else { 0 };
        self.read_meanwhile_max.set(READ_AHEAD_MAX + body_bytes);
    }

    fn has_body_of(&self, request: &actix_web::dev::ServiceRequest) -> bool {
        let headers = request.headers();
        headers.contains_key(header::CONTENT_LENGTH)
            || headers.contains_key(header::TRANSFER_ENCODING)
    }

    /// Its response is about to be sent.
    pub fn respond(&self, size: BodySize, is_endless: bool) {
        self.is_endless.set(is_endless);
        self.body_bytes.set(match size {
            BodySize::Sized(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
            BodySize::None | BodySize::Stream => 0,
        });
    }

    /// Its response is rendered to its end, or given up.
    pub fn end(&self, now: Instant) {
        self.under_way.set(self.under_way.get().saturating_sub(1));
        if self.under_way.get() > 0 {
            return;
        }
        if self.has_body.get() {
            // Where the body ends is not known here: it may still be coming, or a next head.
            self.next_due.set(Some(now + self.limits.keep_alive + self.limits.head));
        } else if self.tail.get() != HEAD_END {
            // A head has begun behind the request.
            self.head_due.set(Some(now + self.limits.head));
        }
        if let Some(reader) = self.reader.borrow_mut().take() {
            reader.wake();
        }
    }

    /// Notes what was read.
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
        if self.under_way.get() > 0 {
            self.read_meanwhile.set(self.read_meanwhile.get().saturating_add(bytes.len() as u64));
        } else if self.head_due.get().is_none() {
            self.head_due.set(Some(Instant::now() + self.limits.head));
        }
    }

    /// Whether as much was read as one request may bring; then who reads is woken after it.
    pub fn is_full(&self, waker: &Waker) -> bool {
        let is_full =
            self.under_way.get() > 0 && self.read_meanwhile.get() >= self.read_meanwhile_max.get();
        if is_full {
            *self.reader.borrow_mut() = Some(waker.clone());
        }
        is_full
    }

    /// Until when the client has to have asked; `None` while it has.
    pub fn request_due(&self) -> Option<Instant> {
        if self.under_way.get() > 0 {
            return None;
        }
        match (self.head_due.get(), self.next_due.get()) {
            (Some(head), Some(next)) => Some(head.min(next)),
            (head, next) => head.or(next),
        }
    }

    /// Which request it is.
    pub fn number(&self) -> u64 {
        self.begun.get()
    }

    /// Whether no response is being sent: the last one is rendered to its end.
    pub fn is_idle(&self) -> bool {
        self.under_way.get() == 0
    }

    /// Whether the response has no end.
    pub fn is_endless(&self) -> bool {
        self.is_endless.get()
    }

    /// Bytes that the response keeps in memory, as far as it said so.
    pub fn body_bytes(&self) -> usize {
        if self.under_way.get() > 0 { self.body_bytes.get() } else { 0 }
    }
}
