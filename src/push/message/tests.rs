use super::*;

const EVENT: EventId = EventId(7);

#[test]
fn every_message_has_its_type_as_tag() {
    let (event_id, message, version) = (7, "why", ViewVersion { generation: 2, version: 17 });
    let all = [
        Message::connected(EVENT, Some(version)),
        Message::Snapshot {
            event_id,
            generation: 2,
            version: 17,
            bytes: String::new(),
            resume: version.to_string(),
        },
        Message::SeatUpdate {
            event_id,
            generation: 2,
            since: 16,
            version: 17,
            status: "HOLD",
            seat_ids: vec![1],
            timestamp: String::new(),
            resume: None,
        },
        Message::gap(EVENT, None, version),
        Message::BookingExpired {
            event_id,
            booking_id: String::new(),
            seat_ids: vec![1],
            timestamp: String::new(),
            message,
        },
        Message::event_status(EVENT, EventStatus::Paused, &SaleTimes::default(), (1, version)),
        Message::registered(EVENT),
        Message::Position {
            event_id,
            position: 1,
            estimated_wait_seconds: 1,
            refresh_after_seconds: 1,
        },
        Message::Gathering {
            event_id,
            joined: 1,
            refresh_after_seconds: 1,
            on_sale_at: String::new(),
        },
        Message::Admitted {
            event_id,
            token: "t".into(),
            session_expires_at: String::new(),
            message,
        },
        Message::SoldOut { event_id, message },
        Message::SaleClosed { event_id, message },
        Message::WaitingRoomOff { event_id, message },
        Message::pong(),
        Message::Error { error: "in_flight", detail: message.into() },
    ];
    for message in &all {
        assert_eq!(serde_json::to_value(message).unwrap()["type"], message.as_str());
    }
    assert_eq!(all.each_ref().map(Message::as_str), Message::TYPES);
}

#[test]
fn event_stream_message_is_one_block_of_lines() {
    let detail = "two\nlines\r".into();
    let message = Message::Error { error: "invalid_json", detail };
    let text = message.encode(Protocol::EventStream, None);
    let expected = "event: error\ndata: {\"type\":\"error\",\"error\":\"invalid_json\",\
        \"detail\":\"two\\nlines\\r\"}\n\n";
    assert_eq!(text, expected);
    let with_id =
        message.encode(Protocol::EventStream, Some(ViewVersion { generation: 2, version: 17 }));
    assert_eq!(with_id, format!("id: 2-17\n{expected}"));
    let gap = Message::gap(EVENT, None, ViewVersion::default()).encode(Protocol::EventStream, None);
    assert!(gap.starts_with(b"id:\nevent: gap\n"), "the browser forgets the last id");
}

#[test]
fn web_socket_message_is_an_unmasked_text_frame() {
    let bytes = Message::connected(EVENT, None).encode(Protocol::WebSocket, None);
    assert_eq!((bytes[0], bytes[1] as usize), (0x81, bytes.len() - 2));
    let json: serde_json::Value = serde_json::from_slice(&bytes[2..]).unwrap();
    let connected = serde_json::json!({
        "type": "connected", "event_id": 7, "generation": null, "version": null,
        "message": "Connected",
    });
    assert_eq!(json, connected);
}

#[test]
fn client_messages_are_parsed() {
    let read = |text| serde_json::from_str::<ClientMessage>(text).ok();
    let token = "t".to_owned();
    let register = r#"{"type":"register_waiting_room","token":"t","more":1}"#;
    assert_eq!(read(register), Some(ClientMessage::RegisterWaitingRoom { token }));
    assert_eq!(read(r#"{"type":"ping"}"#), Some(ClientMessage::Ping));
    for wrong in ["ping", "{}", r#"{"type":"x"}"#, r#"{"type":"register_waiting_room"}"#] {
        assert_eq!(read(wrong), None, "{wrong}");
    }
}
