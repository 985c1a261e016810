//! The path of a confirmation: nothing on it polls.

use std::time::{Duration, Instant};

use crate::support::api::{Api, Place, places};
use crate::support::eventually;

/// The interval of the worker's and the API's periodic tasks, unless they are off the path.
const SELDOM_MS: &str = "60000";
/// The shortest interval of any poll: blocking reads of the log end after a second. With one poll on
/// the path, half of all confirmations would take half of it or more.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1_000);
/// Confirmations measured sequentially.
const CONFIRMATIONS: u32 = 21;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confirmation_path_has_no_polling_interval() {
    let place = Place::shared();
    let seldom = [
        ("HOLDFAST_SWEEP_INTERVAL_MS", SELDOM_MS),
        ("HOLDFAST_RECONCILE_INTERVAL_MS", SELDOM_MS),
        ("HOLDFAST_CONFIRM_WAIT_MS", "20000"),
    ];
    let api = Api::program(&place, &seldom).await;
    let _worker = place.worker_with(&seldom);
    let mut event = places(CONFIRMATIONS + 1);
    event["max_seats_per_user"] = 1_000.into();
    let event = api.event(event).await;
    let confirm = async |seat: u32| {
        let held = api.held("ann", event, &[seat]).await;
        let began = Instant::now();
        let reply = api.act("ann", &held, "confirm").await;
        (reply.status, began.elapsed())
    };
    // The worker has started once one is confirmed.
    eventually("the worker works", Duration::from_secs(60), async || {
        confirm(CONFIRMATIONS + 1).await.0 == 200
    })
    .await;
    let mut took = Vec::new();
    for seat in 1..=CONFIRMATIONS {
        let (status, time) = confirm(seat).await;
        assert_eq!(status, 200);
        took.push(time);
    }
    took.sort();
    let median = took[took.len() / 2];
    assert!(median < SHORTEST_INTERVAL / 2, "{took:?}");
}
