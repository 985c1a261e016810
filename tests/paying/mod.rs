//! Payments are safe: one charge and one sale, whichever process dies; money and seats agree.

mod books;
mod cards;
mod differences;
mod doubt;
mod kills;
mod late;
mod marked;
mod path;
mod refunds;
mod torture;

use std::time::Duration;

use holdfast::archive::Archive;
use holdfast::domain::{BookingId, EventId, Intent, IntentState, Outcome};
use serde_json::Value;

use crate::support::api::{Api, Place};
use crate::support::eventually;
use crate::support::http::Reply;

/// An abandoned payment is settled within this time: lease, reconciler, a busy machine.
const SETTLED: Duration = Duration::from_secs(60);
/// The shortest valid times: a dead process' lease lapses after six seconds.
const SHORT: [(&str, &str); 6] = [
    ("HOLDFAST_REDIS_TIMEOUT_MS", "800"),
    ("HOLDFAST_MONGODB_TIMEOUT_MS", "1500"),
    ("HOLDFAST_PAYMENT_TIMEOUT_MS", "400"),
    ("HOLDFAST_CONFIRM_WAIT_MS", "500"),
    ("HOLDFAST_CONFIRM_LEASE_MS", "6500"),
    ("HOLDFAST_RECONCILE_INTERVAL_MS", "200"),
];

/// An API with these times and this fault point.
async fn api(place: &Place, fault: &str) -> Api {
    Api::program(place, &[&SHORT[..], &[("HOLDFAST_API_FAULT_POINT", fault)]].concat()).await
}

fn booking_id(booking: &Value) -> BookingId {
    booking["id"].as_str().expect("a booking has an id").parse().unwrap()
}

/// What the books say in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// What sold bookings cost.
    pub sold: i64,
    /// What was charged.
    pub charged: i64,
    /// What was given back.
    pub refunded: i64,
}

/// Waits until every intent of these events is closed, and compares provider, intents and archive,
/// booking by booking.
pub async fn books_agree(archive: &Archive, events: &[u64]) -> Totals {
    let mut totals = Totals::default();
    for event in events {
        let event = EventId(*event as u32);
        eventually("every intent is closed", SETTLED, async || {
            // A server too busy to answer is queried again.
            let intents = archive.intents_of_event(event, None, 10_000).await;
            intents.is_ok_and(|all| all.iter().all(|intent| intent.due_ms.is_none()))
        })
        .await;
        for intent in archive.intents_of_event(event, None, 10_000).await.unwrap() {
            let one = story_of(archive, &intent).await;
            totals.sold += one.sold;
            totals.charged += one.charged;
            totals.refunded += one.refunded;
        }
    }
    assert_eq!(totals.sold, totals.charged - totals.refunded, "{totals:?}");
    totals
}

/// One booking's totals. INVARIANT: sold and charged once, or nothing remains of any charge.
async fn story_of(archive: &Archive, intent: &Intent) -> Totals {
    let id = intent.booking;
    let payment = archive.simulated_payments().find(id).await.unwrap();
    let outcome = archive.booking(id).await.unwrap().and_then(|booking| booking.outcome);
    let charges = payment.as_ref().map_or(0, |payment| payment.charges);
    assert!(charges <= 1, "{id} was charged {charges} times");
    let refunded = payment.as_ref().map_or(0, |payment| payment.refunded);
    let charged = payment.filter(|_| charges == 1).map_or(0, |payment| payment.amount);
    let amount = intent.amount;
    let (sold, expected) = match (intent.state, outcome) {
        (IntentState::Sold, Some(Outcome::Sold)) => (amount, (amount, 0)),
        (IntentState::Cancelled, None) => (0, (0, 0)),
        (IntentState::Refunded, Some(Outcome::Refund | Outcome::Cancelled)) => {
            (0, (amount, amount))
        }
        other => panic!("{id} ends as {other:?}"),
    };
    assert_eq!((charged, refunded), expected, "{id}: {intent:?}");
    Totals { sold, charged, refunded }
}

/// The receipt as its bytes.
fn receipt(reply: &Reply) -> String {
    assert_eq!(reply.json(200)["status"], "CONFIRMED");
    let text = reply.text();
    text[text.find("\"receipt\":").expect("a receipt")..].to_owned()
}
