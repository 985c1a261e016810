//! The protocols of pushed updates.

/// The protocol of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// A WebSocket.
    WebSocket,
    /// Server-sent events.
    EventStream,
}

impl Protocol {
    /// The label in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::WebSocket => "websocket",
            Protocol::EventStream => "sse",
        }
    }
}
