//! Claims and outcomes of concurrent sales.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seat_is_resold_only_after_its_sale_is_cancelled() {
    let archive = archive().await;
    let [first, second, third] = [1, 2, 3].map(|n| booking(EVENT, n));
    let sold = |id| entry(id, &[1, 2], Kind::Sold, 3);
    let both = store(&archive, [sold(first), sold(second)]).await;
    let outcomes: Vec<Outcome> = both.sales.iter().map(|v| v.outcome).collect();
    assert_eq!(outcomes, [Outcome::Sold, Outcome::Refund]);
    let found = archive.booking(second).await.unwrap().unwrap();
    assert_eq!((found.booking.status, found.booking.paid_ms), (Status::Voided, BORN_MS + 2_500));

    assert_eq!(archive.cancel_sold(second, 9).await.unwrap(), Some(Outcome::Refund));
    assert_eq!(archive.cancel_sold(third, 9).await.unwrap(), None);
    for now_ms in [BORN_MS + 9_000, BORN_MS + 9_999] {
        let cancelled = archive.cancel_sold(first, now_ms).await.unwrap();
        assert_eq!(cancelled, Some(Outcome::Cancelled));
    }
    assert_eq!(archive.booking(first).await.unwrap().unwrap().booking.ended_ms, BORN_MS + 9_000);
    // It still owns its claims; a replay of its sale must not sell it again.
    assert_eq!(store(&archive, [sold(first)]).await.sales[0].outcome, Outcome::Cancelled);
    assert_eq!(store(&archive, [sold(third)]).await.sales[0].outcome, Outcome::Sold);

    // Late replays get the current outcomes and change none.
    let late = store(&archive, [sold(first), sold(second), sold(third)]).await;
    let outcomes: Vec<Outcome> = late.sales.iter().map(|v| v.outcome).collect();
    assert_eq!(outcomes, [Outcome::Cancelled, Outcome::Refund, Outcome::Sold]);
    assert_eq!(owners(&archive).await, BTreeMap::from([(1, third), (2, third)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancellation_is_unsettled_until_it_is_marked_as_settled() {
    let archive = archive().await;
    let id = booking(EVENT, 1);
    store(&archive, sold_life(id, &[1])).await;
    let now_ms = BORN_MS + 9_000;
    archive.cancel_sold(id, now_ms).await.unwrap();
    assert!(archive.cancels_unsettled(now_ms, 0, 10).await.unwrap().is_empty());
    let unsettled = archive.cancels_unsettled(now_ms + 1, 0, 10).await.unwrap();
    assert_eq!((unsettled.len(), unsettled[0].booking.id), (1, id));
    assert_eq!(unsettled[0].cancel_unsettled_ms, Some(now_ms));

    // A replay of the sale does not change the cancellation.
    store(&archive, sold_life(id, &[1])).await;
    assert_eq!(archive.cancels_unsettled(now_ms + 1, 0, 10).await.unwrap().len(), 1);
    // The settlement in Redis does not imply the refund.
    store(&archive, [entry(id, &[1], Kind::Cancelled, 5)]).await;
    assert_eq!(archive.cancels_unsettled(now_ms + 1, 0, 10).await.unwrap().len(), 1);
    archive.cancel_settled(id).await.unwrap();
    assert!(archive.cancels_unsettled(now_ms + 1, 0, 10).await.unwrap().is_empty());
    let found = archive.booking(id).await.unwrap().unwrap();
    assert_eq!((found.booking.status, found.booking.version), (Status::Cancelled, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_workers_sell_every_contested_seat_once() {
    let server = shared_mongodb();
    let database = unique_name();
    let archive = open(server, &database, OP_TIMEOUT_MS).await;
    archive.prepare(PARTITIONS).await.unwrap();
    let rings: u32 = long_or(30, 8);
    // Every second seat was sold before and cancelled: its claim must get a new owner.
    for n in 0..rings as u64 * 3 / 2 {
        let cancelled = booking(EVENT, 1_000 + n);
        let sale = entry(cancelled, &[n as u32 * 2 + 1], Kind::Sold, 3);
        store(&archive, [sale]).await;
        archive.cancel_sold(cancelled, BORN_MS).await.unwrap();
    }
    // Rings of three bookings, each of which shares a seat with both others. Four workers store all of
    // them in different orders.
    let seats_of: BTreeMap<BookingId, [u32; 2]> = (0..rings * 3)
        .map(|n| {
            let first = n / 3 * 3 + 1;
            let pairs = [[first, first + 1], [first + 1, first + 2], [first, first + 2]];
            (booking(EVENT, u64::from(n)), pairs[n as usize % 3])
        })
        .collect();
    let mut workers = Vec::new();
    for worker in 0..4 {
        let mut sales: Vec<Entry> =
            seats_of.iter().map(|(id, seats)| entry(*id, seats, Kind::Sold, 3)).collect();
        Dice(worker).shuffle(&mut sales);
        let archive = open(server, &database, OP_TIMEOUT_MS).await;
        workers.push(tokio::spawn(async move {
            let mut outcomes = Vec::new();
            for sales in sales.chunks(7) {
                let stored = store(&archive, sales.to_vec()).await;
                outcomes.extend(stored.sales.into_iter().map(|v| (v.booking.id, v.outcome)));
            }
            outcomes
        }));
    }
    let mut outcomes = Vec::new();
    for worker in workers {
        outcomes.extend(worker.await.unwrap());
    }
    assert_eq!(outcomes.len(), seats_of.len() * 4);
    for (id, outcome) in outcomes {
        assert_eq!(
            outcome_of(&archive, id).await,
            Some(outcome),
            "every worker got the current outcome"
        );
    }
    let owners = owners(&archive).await;
    let mut sold_rings = Vec::new();
    for (id, seats) in &seats_of {
        if outcome_of(&archive, *id).await == Some(Outcome::Sold) {
            assert!(seats.iter().all(|seat| owners[seat] == *id), "a sold booking owns its claims");
            sold_rings.push((seats[0] - 1) / 3);
        }
    }
    let expected: Vec<u32> = (0..rings).collect();
    assert_eq!(sold_rings, expected, "exactly one booking of each ring is sold");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcome_ranks_above_every_version() {
    let archive = archive().await;
    let id = booking(EVENT, 1);
    // A log that lost its end continued without the sale; then the sale is stored.
    store(&archive, [entry(id, &[1], Kind::Expired, 9)]).await;
    store(&archive, [entry(id, &[1], Kind::Sold, 3)]).await;
    store(&archive, [entry(id, &[1], Kind::Expired, 10)]).await;
    let found = archive.booking(id).await.unwrap().unwrap();
    let b = &found.booking;
    assert_eq!((found.outcome, b.status), (Some(Outcome::Sold), Status::Confirmed));
    assert_eq!((b.version, b.paid_ms, b.ended_ms), (10, BORN_MS + 2_500, 0));
    assert_eq!(b.payment, format!("pay-{id}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decided_sale_has_the_version_and_time_of_its_settlement() {
    let archive = archive().await;
    let id = booking(EVENT, 1);
    let life = sold_life(id, &[1]);
    store(&archive, [life[0].clone()]).await;
    let now_ms = BORN_MS + 3_500;
    let sale = batch(life[1..3].to_vec());
    let stored =
        archive.store_with(&sale, &NoObserver, |_| now_ms, async { Ok(()) }).await.unwrap();
    assert_eq!((stored.failed.len(), stored.sales[0].booking.confirmed_ms), (0, now_ms));
    let found = archive.booking(id).await.unwrap().unwrap();
    let facts = |found: &ArchivedBooking| {
        let b = &found.booking;
        (found.outcome, b.status, b.version, b.paid_ms, b.confirmed_ms)
    };
    let decided = (Some(Outcome::Sold), Status::Confirmed, 4, BORN_MS + 2_500, now_ms);
    assert_eq!(facts(&found), decided);
    assert_eq!(found.booking.lease, 1, "the sale's state is written with its outcome");

    // The settlement that Redis then logs changes nothing, a later one does.
    let mut settled = life[3].clone();
    settled.transition.as_mut().unwrap().confirmed_ms = now_ms;
    store(&archive, [settled.clone()]).await;
    assert_eq!(facts(&archive.booking(id).await.unwrap().unwrap()), decided);
    settled.transition.as_mut().unwrap().version = 7;
    store(&archive, [settled]).await;
    assert_eq!(archive.booking(id).await.unwrap().unwrap().booking.version, 7);
    // A replay adopts the outcome, whose time the entry does not know.
    let again = archive.store_with(&sale, &NoObserver, |_| 9, async { Ok(()) }).await.unwrap();
    assert!(again.sales[0].is_adopted);
    assert_eq!(again.sales[0].booking.confirmed_ms, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sale_is_decided_whatever_document_it_meets() {
    let archive = archive().await;
    // Newer in its generation, of a later generation, of an earlier one, and none.
    let [newer, later, earlier, none] = [1, 2, 3, 4].map(|n| booking(EVENT, n));
    let held =
        |id, generation, version| Entry { generation, ..entry(id, &[9], Kind::Expired, version) };
    store(&archive, [held(newer, 1, 8), held(later, 2, 1), held(earlier, 0, 9)]).await;
    let ids = [newer, later, earlier, none];
    let sales = ids.into_iter().zip(1..).map(|(id, seat)| entry(id, &[seat], Kind::Sold, 3));
    let stored = store(&archive, sales).await;
    assert!(stored.sales.iter().all(|sale| sale.outcome == Outcome::Sold));
    let mut found = Vec::new();
    for id in ids {
        let one = archive.booking(id).await.unwrap().unwrap();
        let b = &one.booking;
        assert_eq!((one.outcome, b.status), (Some(Outcome::Sold), Status::Confirmed));
        assert_eq!((b.paid_ms, b.ended_ms), (BORN_MS + 2_500, 0));
        found.push((one.generation, b.version));
    }
    assert_eq!(found, [(1, 8), (2, 4), (1, 4), (1, 4)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contested_sale_is_archived_as_paid_before_it_is_decided() {
    let archive = archive().await;
    let [first, second] = [1, 2].map(|n| booking(EVENT, n));
    store(&archive, [entry(first, &[1], Kind::Sold, 3)]).await;
    let stored = store(&archive, [entry(second, &[1, 2], Kind::Sold, 3)]).await;
    assert_eq!(stored.sales[0].outcome, Outcome::Refund);
    let found = archive.booking(second).await.unwrap().unwrap();
    let b = &found.booking;
    assert_eq!((b.status, b.version, b.lease), (Status::Voided, 3, 1));
    assert_eq!((b.paid_ms, b.confirmed_ms), (BORN_MS + 2_500, 0));
}
