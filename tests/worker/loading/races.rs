//! Concurrent operations between the steps of an unload or a load.

use super::*;

on_one_redis!(event_that_changes_meanwhile_is_not_unloaded, async |flavor| {
    let (world, _worker) = world_with_worker(flavor).await;
    let events = events(&world);
    let (event, _) = closed_event(&world, &events).await;
    let is_changing = std::sync::atomic::AtomicBool::new(true);
    let changes = || is_changing.load(std::sync::atomic::Ordering::SeqCst);
    let change_it = async {
        while changes() {
            block(&world, event, BlockAction::Block, 10).await;
            block(&world, event, BlockAction::Release, 10).await;
        }
    };
    let unload = async {
        let refused_by_redis = async || match events.unload(event, Duration::from_secs(2)).await {
            Err(SaleError::EventState { reason, .. }) => reason.contains("changed meanwhile"),
            other => panic!("{other:?}"),
        };
        eventually("Redis refuses", BUSY, refused_by_redis).await;
        is_changing.store(false, std::sync::atomic::Ordering::SeqCst);
    };
    tokio::join!(change_it, unload);
    let after = facts(&world, event).await;
    assert_eq!((after.load_state, after.unload_token), (LoadState::Opened, None));
    assert_eq!(events.unload(event, WAIT).await.unwrap(), UnloadResult::Done);
    world.verified().await;
    world.stop().await;
});

on_one_redis!(one_of_several_loads_is_opened, async |flavor| {
    let (world, _worker) = world_with_worker(flavor).await;
    let (one, two, three) = (events(&world), events(&world), events(&world));
    let (event, sold) = closed_event(&world, &one).await;
    for _ in 0..5 {
        assert_eq!(one.unload(event, WAIT).await.unwrap(), UnloadResult::Done);
        let all = tokio::join!(one.load(event), two.load(event), three.load(event));
        let all = [all.0, all.1, all.2];
        assert!(all.iter().any(Result::is_ok), "{all:?}");
        for refused in all.into_iter().filter_map(Result::err) {
            assert!(matches!(refused, SaleError::EventState { .. }), "{refused:?}");
        }
        assert_eq!(facts(&world, event).await.load_state, LoadState::Opened);
        assert_eq!(world.free(event).await, Some(8));
        assert_eq!(read(&world, &sold).await, as_owner_sees(&sold));
    }
    world.verified().await;
    world.stop().await;
});

on_one_redis!(resuming_and_unloading_exclude_each_other, async |flavor| {
    let (world, _worker) = world_with_worker(flavor).await;
    let (one, two) = (events(&world), events(&world));
    let (event, _) = closed_event(&world, &one).await;
    for _ in 0..5 {
        let resume = set_status(&two, event, EventStatus::OnSale);
        let (unloaded, resumed) = tokio::join!(one.unload(event, WAIT), resume);
        let now = facts(&world, event).await;
        match (&unloaded, &resumed) {
            (Ok(UnloadResult::Done), Err(SaleError::EventState { .. })) => {
                assert_eq!(now.load_state, LoadState::Unloaded);
                one.load(event).await.unwrap();
            }
            (Err(SaleError::EventState { .. }), Ok(())) => {
                let on_sale = (LoadState::Opened, EventStatus::OnSale);
                assert_eq!((now.load_state, now.status), on_sale);
                set_status(&two, event, EventStatus::Closed).await.unwrap();
            }
            // The unload had started and was undone.
            (Err(SaleError::EventState { .. }), Err(SaleError::EventState { .. })) => {
                assert_eq!(now.load_state, LoadState::Opened);
            }
            other => panic!("{other:?}, {now:?}"),
        }
        world.verified().await;
    }
    world.stop().await;
});

on_one_redis!(sale_cancelled_during_a_load_is_settled, async |flavor| {
    let (world, _worker) = world_with_worker(flavor).await;
    let events = events(&world);
    let (event, sold) = closed_event(&world, &events).await;
    events.unload(event, WAIT).await.unwrap();
    // The load reads the archive; the sale is cancelled; the load places what it read.
    world.archive.begin_load(event, &facts(&world, event).await).await.unwrap().unwrap();
    let loading = world.archive.event(event).await.unwrap().unwrap();
    let load = world.engine.load_event(&loading, &Inventory::free(&loading.layout)).await;
    let holdfast::redis::OpenEventReply::Done { token } = load.unwrap() else {
        panic!("not loading")
    };
    let read_before = world.archive.booking(sold.id).await.unwrap().unwrap().booking;
    let cancelled_sale = world.sale.cancel(&sold.user, sold.id).await.unwrap().booking;
    assert_eq!(cancelled_sale.status, Status::Cancelled);
    world.engine.load_bookings(&loading, &token, &[read_before], &[]).await.unwrap();
    assert!(world.archive.mark_loaded(event, 2, &token).await.unwrap());

    // The worker opens the load and then settles the cancellation.
    eventually("its seats are free", SOON, async || world.free(event).await == Some(10)).await;
    assert_eq!(world.status(sold.id).await, Some(Status::Cancelled));
    world.verified().await;
    world.stop().await;
});
