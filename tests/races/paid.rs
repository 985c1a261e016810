//! Seats that are paid for: CONFIRMED by the archive alone, one receipt in every response, and
//! free again once a cancellation is archived.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::Pair;
use crate::on_one_redis;
use crate::support::api::small_event;
use crate::support::http::Reply;

/// The archive's word comes within this: on a busy machine, too.
const ARCHIVED: Duration = Duration::from_secs(20);

/// The receipt as its bytes: replays repeat them.
fn receipt(reply: &Reply) -> String {
    let body = reply.json(200);
    assert_eq!(body["status"], "CONFIRMED");
    let text = reply.text();
    let at = text.find("\"receipt\":").expect("a receipt");
    text[at..].to_owned()
}

on_one_redis!(a_confirmation_has_one_receipt, async |flavor| {
    let pair = Pair::with_workers(flavor, 1, ARCHIVED).await;
    let event = pair.turn(0).event(small_event()).await;
    let held = pair.turn(0).held("ann", event, &[2, 9]).await;
    // Confirmed in both processes at once: paid once.
    let (one, other) = tokio::join!(
        pair.turn(0).act("ann", &held, "confirm"),
        pair.turn(1).act("ann", &held, "pay")
    );
    let paid = if one.status == 200 { one } else { other };
    let body = paid.json(200);
    let expected = json!({
        "payment_id": body["payment_id"], "booking_id": held["id"], "amount": 7000,
        "currency": "EUR", "seats": ["Stalls A-2", held["seats"][1]["seat_label"]],
        "paid_at": body["receipt"]["paid_at"],
    });
    assert_eq!(body["receipt"], expected);
    assert!(body["confirmed_at"].is_string() && body["time_remaining_seconds"] == 0, "{body}");
    for n in 0..2 {
        let again = pair.turn(n).act("ann", &held, "confirm").await;
        assert_eq!(receipt(&again), receipt(&paid));
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
    }
    pair.turn(1).counts_become(event, (10, 0, 2)).await;
    pair.turn(1).act("ann", &held, "extend").await.problem(409, "booking_confirmed");
    pair.turn(1).hold("bob", event, &[2]).await.problem(409, "seats_unavailable");
    // The request that held the seats still finds its booking.
    assert_eq!(pair.turn(1).hold("ann", event, &[2, 9]).await.json(201)["status"], "CONFIRMED");
});

on_one_redis!(a_cancelled_sale_is_sold_again, async |flavor| {
    let pair = Pair::with_workers(flavor, 1, ARCHIVED).await;
    let event = pair.turn(0).event(small_event()).await;
    let mut sold = BTreeSet::new();
    for user in ["ann", "bob", "ann"] {
        let held = pair.turn(0).held(user, event, &[1, 2]).await;
        assert!(sold.insert(held["id"].to_string()), "a booking of its own");
        pair.turn(1).act(user, &held, "confirm").await.json(200);
        pair.turn(0).counts_become(event, (10, 0, 2)).await;
        let cancels = (0..4).map(|n| pair.turn(n).act(user, &held, "cancel"));
        for cancelled in join_all(cancels).await {
            assert_eq!(cancelled.json(200)["status"], "CANCELLED");
        }
        pair.turn(1).counts_become(event, (12, 0, 0)).await;
        pair.turn(1).act(user, &held, "confirm").await.problem(409, "booking_cancelled");
    }
    // The list comes from the archive, which by now says the same.
    let listed = async |user: &str| -> Value {
        pair.turn(0).get("/api/v1/bookings").user(user).send().await.json(200)
    };
    let anns = listed("ann").await;
    let bookings = anns["bookings"].as_array().unwrap();
    assert_eq!((bookings.len(), &anns["total"]), (2, &json!(2)));
    assert!(bookings.iter().all(|booking| booking["status"] == "CANCELLED"), "{anns}");
    assert!(anns["as_of"].is_string(), "{anns}");
    assert_eq!(listed("nobody").await["bookings"], json!([]));
});
