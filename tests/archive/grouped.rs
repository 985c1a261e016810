//! Writes of concurrent callers that share commands.

use holdfast::domain::{Booking, Intent, IntentState};

use super::*;

fn intent(n: u64) -> Intent {
    let sale = entry(booking(EVENT, n), &[n as u32], Kind::ConfirmBegin, 2);
    let booking: Booking = sale.transition.unwrap().to_booking();
    Intent::first(&booking, &format!("pay-{n}"), IntentState::Open, BORN_MS)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_intents_are_each_inserted_once() {
    let archive = archive().await;
    let callers = (0..long_or(2_000, 400)).map(|n| {
        let archive = archive.clone();
        // Every booking twice.
        tokio::spawn(async move { (n / 2, archive.insert_intent(&intent(n / 2)).await.unwrap()) })
    });
    let mut inserted: BTreeMap<u64, u32> = BTreeMap::new();
    for caller in callers.collect::<Vec<_>>() {
        let (n, is_new) = caller.await.unwrap();
        *inserted.entry(n).or_default() += u32::from(is_new);
    }
    assert!(inserted.values().all(|times| *times == 1), "{inserted:?}");
    for n in inserted.into_keys() {
        let found = archive.intent(booking(EVENT, n)).await.unwrap().unwrap();
        assert_eq!(found.payment, format!("pay-{n}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_server_delays_shared_writes_by_a_bounded_time() {
    let server = private_mongodb();
    let archive = open(&server, &unique_name(), 800).await;
    archive.prepare(PARTITIONS).await.unwrap();
    server.freeze();
    // As many callers as commands in flight, then some that wait for those and give up.
    let (first, second) = (intent(1), intent(2));
    let mut sent = [&first, &second].map(|intent| Box::pin(archive.insert_intent(intent)));
    for write in &mut sent {
        assert!(futures_util::poll!(write).is_pending());
    }
    for n in 3..=6 {
        let waiting = intent(n);
        let given_up = archive.insert_intent(&waiting);
        assert!(tokio::time::timeout(Duration::from_millis(20), given_up).await.is_err());
    }
    let begun = Instant::now();
    for write in sent {
        let error = write.await.unwrap_err();
        assert!(matches!(error, ArchiveError::Unavailable(_)), "{error}");
    }
    assert!(begun.elapsed() < Duration::from_millis(2_000), "{:?}", begun.elapsed());
    server.thaw();
    crate::support::eventually("writing goes on", Duration::from_secs(20), || async {
        archive.insert_intent(&intent(9)).await.is_ok()
    })
    .await;
}
