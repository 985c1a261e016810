//! Invalid frames. Each closes its own socket with a reason, and no other socket.

use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};

use super::api_with;
use crate::support::api::Api;
use crate::support::sockets::{BOUND, Socket};

const FRAME_BYTES_MAX: usize = 4 * 1024;

/// A fragment of a message.
fn part(bytes: impl Into<Vec<u8>>, opcode: Data, is_final: bool) -> Message {
    let bytes: Vec<u8> = bytes.into();
    Message::Frame(Frame::message(bytes, OpCode::Data(opcode), is_final))
}

async fn closes(api: &Api, event: u64, messages: Vec<Message>) -> (CloseCode, String) {
    let mut socket: Socket = api.socket(event).await;
    for message in messages {
        socket.send(message).await;
    }
    socket.closed().await
}

#[tokio::test]
async fn invalid_frame_closes_its_socket_with_a_reason() {
    let (api, event) = api_with(|config| config).await;
    let mut neighbour = api.socket(event).await;
    let long = "x".repeat(FRAME_BYTES_MAX + 1);
    let half = vec![b'x'; FRAME_BYTES_MAX / 2 + 1];
    let cases = [
        (vec![Message::text(long)], CloseCode::Size),
        (
            vec![part(half.clone(), Data::Text, false), part(half, Data::Continue, true)],
            CloseCode::Size,
        ),
        (vec![Message::binary(vec![1])], CloseCode::Unsupported),
        (vec![part([1], Data::Binary, false)], CloseCode::Unsupported),
        (vec![part([0xff, 0xfe], Data::Text, true)], CloseCode::Invalid),
        (vec![part("x", Data::Continue, true)], CloseCode::Protocol),
        (vec![part("x", Data::Text, false), part("x", Data::Text, true)], CloseCode::Protocol),
    ];
    let count = cases.len();
    for (messages, code) in cases {
        let (received, reason) = closes(&api, event, messages).await;
        assert_eq!(received, code, "{reason}");
        assert!(reason.len() > 10, "{reason}");
    }
    let bad = r#"holdfast_sockets_ended_total{kind="websocket",reason="bad_frame"}"#;
    assert_eq!(api.labelled_metric(bad).await, count as f64);
    neighbour.say(r#"{"type":"ping"}"#).await;
    assert_eq!(neighbour.json().await["type"], "pong");
    api.stop().await;
}

#[tokio::test]
async fn fragmented_message_is_reassembled() {
    let (api, event) = api_with(|config| config).await;
    let mut socket = api.socket(event).await;
    socket.send(part(r#"{"type":"#, Data::Text, false)).await;
    socket.send(Message::Ping("between".into())).await;
    socket.send(part(r#""ping""#, Data::Continue, false)).await;
    socket.send(part("}", Data::Continue, true)).await;
    assert_eq!(socket.next().await, Some(Message::Pong("between".into())));
    assert_eq!(socket.json().await["type"], "pong");
    api.stop().await;
}

#[tokio::test]
async fn oversized_frame_is_closed_before_it_is_complete() {
    let (api, event) = api_with(|config| config).await;
    let mut raw = api.raw_socket(event).await;
    // The header announces a gigabyte, and some bytes follow.
    let announced = 1_u64 << 30;
    let mut bytes = vec![0x81, 0x80 | 127];
    bytes.extend_from_slice(&announced.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&[b'x'; 2 * FRAME_BYTES_MAX]);
    raw.send(&bytes).await;
    let size = u16::from(CloseCode::Size).to_be_bytes();
    raw.until(BOUND, |read| read.windows(2).any(|two| two == size)).await;
    assert!(raw.closes(BOUND).await);
    api.stop().await;
}

#[tokio::test]
async fn unmasked_frame_closes_the_socket() {
    let (api, event) = api_with(|config| config).await;
    let mut raw = api.raw_socket(event).await;
    raw.send(&[0x81, 2, b'{', b'}']).await;
    let protocol = u16::from(CloseCode::Protocol).to_be_bytes();
    raw.until(BOUND, |read| read.windows(2).any(|two| two == protocol)).await;
    assert!(raw.closes(BOUND).await);
    api.stop().await;
}
