//! Claims and outcomes: who is sold a seat, whatever races.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seat_is_sold_again_only_after_its_cancellation() {
    let archive = archive().await;
    let [first, second, third] = [1, 2, 3].map(|n| booking(EVENT, n));
    let sold = |id| entry(id, &[1, 2], Kind::Sold, 3);
    let both = store(&archive, [sold(first), sold(second)]).await;
    let outcomes: Vec<Outcome> = both.verdicts.iter().map(|v| v.outcome).collect();
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
    // It still owns its claims, and a replay of its sale must not sell it again.
    assert_eq!(store(&archive, [sold(first)]).await.verdicts[0].outcome, Outcome::Cancelled);
    assert_eq!(store(&archive, [sold(third)]).await.verdicts[0].outcome, Outcome::Sold);

    // Late replays adopt what stands and take nothing back.
    let late = store(&archive, [sold(first), sold(second), sold(third)]).await;
    let outcomes: Vec<Outcome> = late.verdicts.iter().map(|v| v.outcome).collect();
    assert_eq!(outcomes, [Outcome::Cancelled, Outcome::Refund, Outcome::Sold]);
    assert_eq!(owners(&archive).await, BTreeMap::from([(1, third), (2, third)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancellation_is_unsettled_until_somebody_says_so() {
    let archive = archive().await;
    let id = booking(EVENT, 1);
    store(&archive, sold_life(id, &[1])).await;
    let now_ms = BORN_MS + 9_000;
    archive.cancel_sold(id, now_ms).await.unwrap();
    assert!(archive.cancels_unsettled(now_ms, 0, 10).await.unwrap().is_empty());
    let unsettled = archive.cancels_unsettled(now_ms + 1, 0, 10).await.unwrap();
    assert_eq!((unsettled.len(), unsettled[0].booking.id), (1, id));
    assert_eq!(unsettled[0].cancel_unsettled_ms, Some(now_ms));

    // A replay of the sale says nothing of the cancellation.
    store(&archive, sold_life(id, &[1])).await;
    assert_eq!(archive.cancels_unsettled(now_ms + 1, 0, 10).await.unwrap().len(), 1);
    // That Redis follows does not tell that the money goes back.
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
    // Every second seat was sold before and is cancelled: its claim has to be taken over.
    for n in 0..rings as u64 * 3 / 2 {
        let cancelled = booking(EVENT, 1_000 + n);
        let sale = entry(cancelled, &[n as u32 * 2 + 1], Kind::Sold, 3);
        store(&archive, [sale]).await;
        archive.cancel_sold(cancelled, BORN_MS).await.unwrap();
    }
    // 30 rings of three bookings, each of which wants a seat of both others; four workers are
    // delivered all of them, in different orders.
    let wants: BTreeMap<BookingId, [u32; 2]> = (0..rings * 3)
        .map(|n| {
            let first = n / 3 * 3 + 1;
            let pairs = [[first, first + 1], [first + 1, first + 2], [first, first + 2]];
            (booking(EVENT, u64::from(n)), pairs[n as usize % 3])
        })
        .collect();
    let mut workers = Vec::new();
    for worker in 0..4 {
        let mut sales: Vec<Entry> =
            wants.iter().map(|(id, seats)| entry(*id, seats, Kind::Sold, 3)).collect();
        Dice(worker).shuffle(&mut sales);
        let archive = open(server, &database, OP_TIMEOUT_MS).await;
        workers.push(tokio::spawn(async move {
            let mut told = Vec::new();
            for sales in sales.chunks(7) {
                let stored = store(&archive, sales.to_vec()).await;
                told.extend(stored.verdicts.into_iter().map(|v| (v.booking.id, v.outcome)));
            }
            told
        }));
    }
    let mut told = Vec::new();
    for worker in workers {
        told.extend(worker.await.unwrap());
    }
    assert_eq!(told.len(), wants.len() * 4);
    for (id, outcome) in told {
        assert_eq!(outcome_of(&archive, id).await, Some(outcome), "all are told what stands");
    }
    let owners = owners(&archive).await;
    let mut sold_rings = Vec::new();
    for (id, seats) in &wants {
        if outcome_of(&archive, *id).await == Some(Outcome::Sold) {
            assert!(seats.iter().all(|seat| owners[seat] == *id), "a sold booking owns its claims");
            sold_rings.push((seats[0] - 1) / 3);
        }
    }
    let expected: Vec<u32> = (0..rings).collect();
    assert_eq!(sold_rings, expected, "of each ring exactly one is sold");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_outranks_every_version() {
    let archive = archive().await;
    let id = booking(EVENT, 1);
    // A log that lost its end went on without the sale; then the sale turns up.
    store(&archive, [entry(id, &[1], Kind::Expired, 9)]).await;
    store(&archive, [entry(id, &[1], Kind::Sold, 3)]).await;
    store(&archive, [entry(id, &[1], Kind::Expired, 10)]).await;
    let found = archive.booking(id).await.unwrap().unwrap();
    let b = &found.booking;
    assert_eq!((found.outcome, b.status), (Some(Outcome::Sold), Status::Confirmed));
    assert_eq!((b.version, b.paid_ms, b.ended_ms), (10, BORN_MS + 2_500, 0));
    assert_eq!(b.payment, format!("pay-{id}"));
}
