//! Clients that read, but slowly: every response has a least throughput, and a time in all that it may
//! wait for its client. They read as much at a time as the system wants of somebody who reads at all
//! (`TCP_USER_TIMEOUT` ends the others).

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::get;
use crate::support::api::{Api, Place, places};

/// How often a slow client reads, and how much.
const STEP: Duration = Duration::from_millis(500);
const SIP_BYTES: usize = 64 * 1024;
/// Of the client's system.
const RECEIVE_BYTES: u32 = 64 * 1024;
/// What a client has to take in a second: many times what it does.
const LEAST: (&str, &str) = ("HOLDFAST_HTTP_RESPONSE_BYTES_PER_SECOND_MIN", "2097152");
const SOON: (&str, &str) = ("HOLDFAST_HTTP_STALL_TIMEOUT_MS", "2000");
/// What a response may wait in all.
const WAIT: (&str, &str) = ("HOLDFAST_HTTP_RESPONSE_WAIT_MS", "3000");
/// A WebSocket's frame that asks for nothing.
const PONG: &[u8] = &[0x8a, 0x80, 0, 0, 0, 0];
/// Less than it takes to read all of a seat map so.
const BOUND: Duration = Duration::from_secs(60);

async fn api(settings: &[(&str, &str)]) -> Api {
    Api::program(&Place::shared(), settings).await.patient()
}

async fn connected(api: &Api, request: &str) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(RECEIVE_BYTES).unwrap();
    let mut stream = socket.connect(api.address().parse().unwrap()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Reads slowly until the server has closed the connection: then it refuses what is sent to it.
async fn sips_until_closed(mut stream: TcpStream, harmless: &[u8]) {
    let mut sip = vec![0; SIP_BYTES];
    let sipped = async {
        while stream.read(&mut sip).await.is_ok_and(|read| read > 0) {
            tokio::time::sleep(STEP).await;
            if stream.write_all(harmless).await.is_err() {
                break;
            }
        }
    };
    tokio::time::timeout(BOUND, sipped).await.expect("closed within the bound");
}

#[tokio::test]
async fn seat_map_read_too_slowly_is_cut_off() {
    let api = api(&[LEAST, SOON]).await;
    let event = api.event(places(100_000)).await;
    let slow = connected(&api, &get(&format!("/api/v1/events/{event}/seats"))).await;
    sips_until_closed(slow, b"\r\n").await;
    let why = r#"holdfast_responses_cut_off_total{why="slow"}"#;
    assert_eq!(api.labelled_metric(why).await, 1.0);
}

#[tokio::test]
async fn response_that_waits_too_long_in_all_is_cut_off() {
    let api = api(&[WAIT]).await;
    let event = api.event(places(100_000)).await;
    let slow = connected(&api, &get(&format!("/api/v1/events/{event}/seats"))).await;
    sips_until_closed(slow, b"\r\n").await;
}

#[tokio::test]
async fn event_stream_read_too_slowly_is_cut_off() {
    let api = api(&[LEAST, SOON]).await;
    let event = api.event(places(1_000_000)).await;
    let slow = connected(&api, &get(&format!("/api/v1/events/{event}/stream"))).await;
    sips_until_closed(slow, b"\r\n").await;
}

#[tokio::test]
async fn socket_read_too_slowly_is_dropped() {
    let api = api(&[LEAST, SOON]).await;
    let event = api.event(places(1_000_000)).await;
    let slow = connected(&api, &api.handshake(event)).await;
    sips_until_closed(slow, PONG).await;
    let why = r#"holdfast_sockets_ended_total{kind="websocket",reason="stalled"}"#;
    assert_eq!(api.labelled_metric(why).await, 1.0);
}
