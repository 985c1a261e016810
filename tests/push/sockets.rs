//! The messages of a WebSocket, and which pages may open one.

use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::api_with;
use crate::support::eventually;
use crate::support::sockets::BOUND;

#[tokio::test]
async fn socket_replies_to_pings_and_closes() {
    let (api, event) = api_with(|config| config).await;
    let open = r#"holdfast_sockets_open{kind="websocket"}"#;
    let mut socket = api.socket(event).await;
    assert_eq!(api.labelled_metric(open).await, 1.0);
    socket.say(r#"{"type":"ping"}"#).await;
    let pong = socket.json().await;
    assert_eq!(pong["type"], "pong");
    assert!(pong["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{pong}");
    socket.send(Message::Ping("abc".into())).await;
    assert_eq!(socket.next().await, Some(Message::Pong("abc".into())));
    socket.send(Message::Close(None)).await;
    assert_eq!(socket.closed().await.0, CloseCode::Normal);
    eventually("its permit is returned", BOUND, async || api.labelled_metric(open).await == 0.0)
        .await;
    let closed = r#"holdfast_sockets_ended_total{kind="websocket",reason="closed"}"#;
    assert_eq!(api.labelled_metric(closed).await, 1.0);
    for kind in ["connected", "pong"] {
        let sent = format!(r#"holdfast_socket_messages_total{{type="{kind}"}}"#);
        assert_eq!(api.labelled_metric(&sent).await, 1.0, "{kind}");
    }
    api.stop().await;
}

#[tokio::test]
async fn invalid_message_gets_an_error_and_the_socket_stays_open() {
    let (api, event) = api_with(|config| config).await;
    let mut socket = api.socket(event).await;
    let cases = [
        ("ping", "invalid_json"),
        ("", "invalid_json"),
        ("{}", "validation_failed"),
        (r#"{"type":"book"}"#, "validation_failed"),
        (r#"{"type":"register_waiting_room"}"#, "validation_failed"),
        (r#"{"type":"register_waiting_room","token":"v1.x.y.z"}"#, "waiting_room_token_invalid"),
    ];
    for (text, error) in cases {
        socket.say(text).await;
        let reply = socket.json().await;
        assert_eq!((&reply["type"], &reply["error"]), (&"error".into(), &error.into()), "{text}");
        assert!(reply["detail"].as_str().unwrap().len() > 10, "{reply}");
    }
    socket.say(r#"{"type":"ping"}"#).await;
    assert_eq!(socket.json().await["type"], "pong");
    api.stop().await;
}

#[tokio::test]
async fn refused_upgrade_is_a_problem_document() {
    let (api, event) = api_with(|config| config).await;
    let path = format!("/ws/events/{event}");
    let plain = api.get(&path).send().await;
    plain.problem(426, "upgrade_required");
    assert_eq!(plain.header("upgrade"), Some("websocket"));
    assert_eq!(plain.header("sec-websocket-version"), Some("13"));
    let old = [("sec-websocket-version", "8")];
    let refused = api.try_socket(event, &old).await.err();
    assert_eq!(refused, Some((426, "upgrade_required".to_owned())));
    let refused = api.try_socket(event + 1_000, &[]).await.err();
    assert_eq!(refused, Some((404, "event_unknown".to_owned())));
    api.stop().await;
}

#[tokio::test]
async fn page_of_another_site_is_refused() {
    const SITE: &str = "https://tickets.example";
    let (api, event) = api_with(|mut config| {
        config.cors_origins = vec![SITE.into()];
        config
    })
    .await;
    let own = format!("http://{}", api.address());
    for origin in [SITE, &own] {
        let opened = api.try_socket(event, &[("origin", origin)]).await;
        assert!(opened.is_ok(), "{origin}: {:?}", opened.err());
    }
    let forbidden = Some((403, "origin_forbidden".to_owned()));
    for origin in ["https://evil.example", "null", "https://tickets.example.evil"] {
        let refused = api.try_socket(event, &[("origin", origin)]).await.err();
        assert_eq!(refused, forbidden, "{origin}");
    }
    let counted = api.labelled_metric(r#"holdfast_sockets_refused_total{reason="origin"}"#).await;
    assert_eq!(counted, 3.0);
    api.stop().await;
}

#[tokio::test]
async fn opening_a_socket_calls_redis_not_at_all() {
    let (api, event) = api_with(|config| config).await;
    let limit_calls = async || {
        let text = api.get("/metrics").send().await.text();
        let replies = text.lines().filter(|line| line.contains(r#"script="limit""#));
        let replies = replies.filter(|line| line.starts_with("holdfast_script_replies_total"));
        replies.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum::<f64>()
    };
    // The counter works.
    let before = limit_calls().await;
    api.get(&format!("/api/v1/events/{event}")).send().await.json(200);
    let after = limit_calls().await;
    assert!(after > before, "{before} {after}");
    let mut kept = Vec::new();
    for _ in 0..20 {
        kept.push(api.socket(event).await);
    }
    assert_eq!(limit_calls().await, after);
    api.stop().await;
}
