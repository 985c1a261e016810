//! Ledger and bookings: the result of storing batches in any order.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sale_is_stored_completely() {
    let archive = archive().await;
    let id = booking(EVENT, 1);
    let life = sold_life(id, &[3, 4]);
    let opened = Entry { kind: Kind::Opened, transition: None, ..life[0].clone() };
    let beat = Entry { kind: Kind::Beat, event: None, transition: None, ..life[0].clone() };
    let mut first = vec![beat, opened];
    first.extend_from_slice(&life[..3]);
    let stored = store(&archive, first.clone()).await;
    let sale = &stored.sales[0];
    assert_eq!((stored.sales.len(), sale.index), (1, 4));
    assert_eq!((sale.booking.id, sale.outcome), (id, Outcome::Sold));
    store(&archive, [life[3].clone()]).await;

    let found = archive.booking(id).await.unwrap().unwrap();
    let booking = &found.booking;
    assert_eq!((found.outcome, found.generation), (Some(Outcome::Sold), 1));
    assert_eq!((booking.status, booking.version), (Status::Confirmed, 4));
    assert_eq!(booking.seats, [SeatId(3), SeatId(4)]);
    assert_eq!((booking.amount, booking.currency.as_str()), (900, "EUR"));
    assert_eq!(
        (booking.paid_ms, booking.payment.as_str()),
        (BORN_MS + 2_500, &*format!("pay-{id}"))
    );
    assert_eq!((booking.confirmed_ms, booking.ended_ms), (life[3].time_ms, 0));
    let texts = [&booking.idempotency, &booking.fingerprint, &booking.trace];
    assert_eq!(texts, ["digest", "print", "trace"]);
    assert_eq!(owners(&archive).await, BTreeMap::from([(3, id), (4, id)]));

    // All entries except the beat are in the ledger; an entry that was never stored is missing.
    let mut ids: Vec<String> = first.iter().filter_map(transition_id).collect();
    assert_eq!(ids.len(), 4);
    ids.push("nothing".into());
    assert_eq!(archive.missing_transitions(ids).await.unwrap(), ["nothing"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_and_number_of_deliveries_do_not_matter() {
    let archive = archive().await;
    let mut dice = Dice(1);
    let mut expected = None;
    for n in 1..=24 {
        let id = booking(EVENT, n);
        let seats = [n as u32 * 2, n as u32 * 2 + 1];
        let mut life = sold_life(id, &seats);
        life.extend(life.clone());
        dice.shuffle(&mut life);
        while !life.is_empty() {
            let rest = life.split_off((dice.below(3) + 1).min(life.len()));
            store(&archive, std::mem::replace(&mut life, rest)).await;
        }
        let found = archive.booking(id).await.unwrap().unwrap();
        let b = &found.booking;
        let facts = (found.outcome, b.status, b.version, b.paid_ms, b.confirmed_ms, b.ended_ms);
        assert_eq!(*expected.get_or_insert(facts), facts);
        let owners = owners(&archive).await;
        assert_eq!([owners[&seats[0]], owners[&seats[1]]], [id, id]);
    }
    let (status, version) = (Status::Confirmed, 4);
    let facts = (Some(Outcome::Sold), status, version, BORN_MS + 2_500, BORN_MS + 4_000, 0);
    assert_eq!(expected, Some(facts));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_is_ordered_by_generation_then_version() {
    let archive = archive().await;
    let id = booking(EVENT, 1);
    let newer = Entry { generation: 2, ..entry(id, &[1], Kind::Hold, 1) };
    store(&archive, [entry(id, &[1], Kind::Expired, 5)]).await;
    store(&archive, [newer]).await;
    store(&archive, [entry(id, &[1], Kind::Expired, 6)]).await;
    let found = archive.booking(id).await.unwrap().unwrap();
    assert_eq!((found.generation, found.booking.version), (2, 1));
    assert_eq!((found.booking.status, found.booking.ended_ms), (Status::Hold, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newer_of_two_concurrent_first_writes_wins() {
    // Both workers find no document and try to insert it: the loser may have the newer state.
    let archive = archive().await;
    for round in 0..long_or(20, 4) {
        let ids: Vec<BookingId> = (0..40).map(|n| booking(EVENT, round * 100 + n)).collect();
        let holds = ids.iter().map(|id| entry(*id, &[1], Kind::Hold, 1));
        let ends = ids.iter().map(|id| entry(*id, &[1], Kind::Expired, 2));
        tokio::join!(store(&archive, holds), store(&archive, ends));
        for id in ids {
            let found = archive.booking(id).await.unwrap().unwrap();
            assert_eq!((found.booking.status, found.booking.version), (Status::Expired, 2));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entry_that_cannot_be_stored_fails_alone() {
    let archive = archive().await;
    let [first, second, third, fourth] = [1, 2, 3, 4].map(|n| booking(EVENT, n));
    let endless = entry(second, &[2], Kind::Sold, u64::MAX);
    let huge = Entry { detail: "x".repeat(20_000), ..entry(third, &[3], Kind::Sold, 3) };
    let entries =
        [entry(first, &[1], Kind::Sold, 3), endless, huge, entry(fourth, &[4], Kind::Sold, 3)];
    let stored = archive.store(&batch(entries)).await.unwrap();
    let failed: Vec<usize> = stored.failed.iter().map(|(index, _)| *index).collect();
    assert_eq!(failed, [1, 2]);
    let sales: Vec<_> = stored.sales.iter().map(|v| (v.index, v.outcome)).collect();
    assert_eq!(sales, [(0, Outcome::Sold), (3, Outcome::Sold)]);
    assert_eq!(archive.booking(second).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn different_entries_with_equal_log_ids_are_distinct() {
    let archive = archive().await;
    let twins = [1, 2].map(|n| entry(booking(EVENT, n), &[n as u32], Kind::Hold, 1));
    assert_eq!(twins[0].id, twins[1].id);
    store(&archive, twins.clone()).await;
    // After a failover the same position may have another version of the same booking.
    let fork = Entry { id: twins[0].id, ..entry(booking(EVENT, 1), &[1], Kind::Expired, 2) };
    store(&archive, [fork.clone()]).await;
    let other = Entry { id: LogId { ms: 1, seq: 1 }, ..twins[0].clone() };
    store(&archive, [other.clone()]).await;
    let all = [&twins[0], &twins[1], &fork, &other];
    let ids: Vec<String> = all.into_iter().filter_map(transition_id).collect();
    assert_eq!(ids[2], format!("{}:2:{}", booking(EVENT, 1), twins[0].id));
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 4);
    assert!(archive.missing_transitions(ids).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_paged() {
    let archive = archive().await;
    let ids: Vec<BookingId> = (1..=5).map(|n| booking(EVENT, n)).collect();
    let foreign = booking(EventId(70), 6);
    let holds = ids.iter().chain([&foreign]).map(|id| entry(*id, &[1], Kind::Hold, 1));
    store(&archive, holds).await;
    let ann = "ann".parse().unwrap();
    let (page, total) = archive.bookings_of(&ann, BookingsFrom::Number(0), 4).await.unwrap();
    assert_eq!((page.len(), total, page[0].booking.id), (4, 6, foreign));
    let (page, _) = archive.bookings_of(&ann, BookingsFrom::Number(4), 4).await.unwrap();
    assert_eq!((page.len(), page[1].booking.id), (2, ids[0]));
    // All have the same creation time: ids determine the order.
    let (page, _) = archive.bookings_of(&ann, BookingsFrom::Number(0), 4).await.unwrap();
    let last = &page[3].booking;
    let older = BookingsFrom::Older { created_ms: last.created_ms, id: last.id };
    let (page, total) = archive.bookings_of(&ann, older, 4).await.unwrap();
    let listed: Vec<BookingId> = page.iter().map(|found| found.booking.id).collect();
    assert_eq!((listed, total), (vec![ids[1], ids[0]], 6));
    assert_eq!(
        archive.bookings_of(&"bob".parse().unwrap(), BookingsFrom::Number(0), 4).await.unwrap(),
        (vec![], 0)
    );

    let page = archive.bookings_of_event(EVENT, None, 3).await.unwrap();
    let next = archive.bookings_of_event(EVENT, Some(page[2].booking.id), 3).await.unwrap();
    let listed: Vec<BookingId> = page.iter().chain(&next).map(|found| found.booking.id).collect();
    assert_eq!(listed, ids);

    let sales = (1..=12).map(|n| entry(booking(EVENT, 10 + u64::from(n)), &[n], Kind::Sold, 3));
    store(&archive, sales).await;
    store(&archive, [entry(foreign, &[1], Kind::Sold, 3)]).await;
    let mut seats = Vec::new();
    let mut after = None;
    loop {
        let page = archive.claims_of_event(EVENT, after, 5).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.seat);
        seats.extend(page.iter().map(|claim| claim.seat.0));
    }
    seats.sort_unstable();
    assert_eq!(seats, (1..=12).collect::<Vec<u32>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_server_delays_a_write_by_a_bounded_time() {
    let server = private_mongodb();
    let archive = open(&server, &unique_name(), 800).await;
    archive.prepare(PARTITIONS).await.unwrap();
    server.freeze();
    let id = booking(EVENT, 1);
    for _ in 0..3 {
        let begun = Instant::now();
        let sale = batch([entry(id, &[1], Kind::Sold, 3)]);
        let error = archive.store(&sale).await.unwrap_err();
        assert!(matches!(error, ArchiveError::Unavailable(_)), "{error}");
        assert!(begun.elapsed() < Duration::from_millis(2_000), "{:?}", begun.elapsed());
    }
    server.thaw();
    crate::support::eventually("the sale is stored", Duration::from_secs(20), || async {
        archive.store(&batch([entry(id, &[1], Kind::Sold, 3)])).await.is_ok()
    })
    .await;
    assert_eq!(outcome_of(&archive, id).await, Some(Outcome::Sold));
}
