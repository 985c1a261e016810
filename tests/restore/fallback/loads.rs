//! Redis falls back to a state before an unload, or before a load was complete.

use std::sync::Mutex;

use holdfast::domain::{EventChange, EventStatus, Inventory, Outcome};
use holdfast::redis::{Engine, OpenEventReply};
use holdfast::sale::restore::Progress;
use holdfast::sale::{Events, LoadResult, UnloadResult};

use super::*;
use crate::on_one_redis;

impl Place {
    fn events(&self) -> Events {
        let (engine, archive) = (self.world.engine.clone(), self.world.archive.clone());
        Events::new(engine, archive, sale_settings())
    }

    async fn close(&self, event: EventId) {
        let closed = Some(EventStatus::Closed);
        let change = EventChange { status: closed, ..EventChange::default() };
        self.events().change(event, change).await.unwrap();
    }

    async fn load(&self, event: EventId) -> LoadResult {
        let mut loaded = None;
        eventually("it is loaded", REPAIRED, async || {
            loaded = self.events().load(event).await.ok();
            loaded.is_some()
        })
        .await;
        loaded.expect("eventually() saw it")
    }
}

on_one_redis!(sale_cancelled_while_unloaded_stays_cancelled_after_a_fall_back, async |flavor| {
    let place = Place::new(flavor).await;
    let mut workers = place.workers(1).await;
    let event = place.world.event(5).await;
    let kept = place.buy("ann", event, &[1]).await;
    let cancelled = place.buy("bob", event, &[2]).await;
    place.close(event).await;
    place.world.verified().await;
    let copy = place.redis.saved_writes();
    assert_eq!(place.events().unload(event, REPAIRED).await.unwrap(), UnloadResult::Done);
    place.world.sale.cancel(&cancelled.user, cancelled.id).await.unwrap();
    let crash = Crash { workers: 1, dying: 1, api_dies: true };
    let place = place.fall_back(&copy, crash, &mut workers).await;
    assert_eq!(place.load(event).await, LoadResult::Done { bookings: 1, blocked: 0 });
    assert_eq!(place.shown(&cancelled).await, Some(Status::Cancelled));
    assert_eq!(place.shown(&kept).await, Some(Status::Confirmed));
    assert_eq!(place.world.free(event).await, Some(4));
    place.end(workers).await;
});

on_one_redis!(load_restores_sales_missing_in_an_older_inventory, async |flavor| {
    let place = Place::new(flavor).await;
    let mut workers = place.workers(1).await;
    let event = place.world.event(5).await;
    place.buy("ann", event, &[1]).await;
    place.world.verified().await;
    let copy = place.redis.saved_writes();
    let lost = place.buy("bob", event, &[2]).await;
    place.close(event).await;
    assert_eq!(place.events().unload(event, REPAIRED).await.unwrap(), UnloadResult::Done);
    let crash = Crash { workers: 1, dying: 1, api_dies: true };
    let place = place.fall_back(&copy, crash, &mut workers).await;
    place.load(event).await;
    let archived = place.world.archive.booking(lost.id).await.unwrap().unwrap();
    assert_eq!(archived.outcome, Some(Outcome::Sold));
    place.becomes(&lost, Status::Confirmed).await;
    assert_eq!(place.world.free(event).await, Some(3));
    let refused = place.world.hold("eve", event, &[3], None).await.unwrap_err();
    assert_eq!(refused, SaleError::EventClosed(event));
    place.end(workers).await;
});

/// Makes Redis fall back during a load: at one step, to a copy made at another.
struct FallsBack<'a> {
    redis: &'a Server,
    copy_at: &'static str,
    fall_at: &'static str,
    copy: Mutex<Option<std::path::PathBuf>>,
    engine: &'a Engine,
}

impl Progress for FallsBack<'_> {
    fn report(&self, _: EventId, what: &str) {
        let mut copy = self.copy.lock().unwrap();
        if what.contains(self.copy_at) && copy.is_none() {
            *copy = Some(self.redis.saved_writes());
        } else if what.contains(self.fall_at)
            && let Some(copy) = copy.take()
        {
            self.redis.kill();
            self.redis.put_back_writes(&copy);
            tokio::task::block_in_place(|| {
                self.redis.restart();
                // The repair does not notice: its next call finds Redis running.
                let answers = async || self.engine.ping().await.is_ok();
                let waits = eventually("Redis answers", SOON, answers);
                tokio::runtime::Handle::current().block_on(waits);
            });
        }
    }
}

on_one_redis!(load_that_lost_a_part_is_not_opened, async |flavor| {
    for (copy_at, fall_at) in
        [("reading the archive", "sold bookings"), ("sold bookings", "blocked seats")]
    {
        let place = Place::new(flavor).await;
        let world = &place.world;
        let event = world.event(10).await;
        let worker = place.worker().await;
        let sold = place.buy("ann", event, &[1, 2]).await;
        let held = world.hold("bob", event, &[3], None).await.unwrap().booking;
        place.block(event, BlockAction::Block, 9).await;
        world.verified().await;
        assert!(worker.stop());
        place.flush();
        let falls = FallsBack {
            redis: &place.redis,
            copy_at,
            fall_at,
            copy: Mutex::default(),
            engine: &world.engine,
        };
        let restored = place.restorer().restore(event, &falls).await;
        assert!(falls.copy.lock().unwrap().is_none(), "{restored:?}");
        assert!(restored.is_err(), "{restored:?}");
        let facts = world.archive.load_facts(event).await.unwrap().unwrap();
        assert_eq!(facts.load_state, LoadState::Loading, "{copy_at}");
        // Whether its own repairer continues or another takes over: the opened load is complete.
        let worker = place.worker().await;
        place.restored(event, 2).await;
        assert_eq!(place.seats(event).await.to_lowercase(), "bbhaaaaaxa", "{copy_at}");
        assert_eq!(world.status(sold.id).await, Some(Status::Confirmed));
        assert_eq!(world.status(held.id).await, Some(Status::Hold));
        place.end(vec![worker]).await;
    }
});

on_one_redis!(load_that_falls_back_after_it_was_recorded_is_not_opened, async |flavor| {
    let place = Place::new(flavor).await;
    let mut workers = place.workers(1).await;
    let event = place.world.event(5).await;
    let sold = place.buy("ann", event, &[1]).await;
    place.world.verified().await;
    assert!(workers.remove(0).stop());
    // A repairer up to the step before it opens the load.
    place.flush();
    let (archive, engine) = (place.world.archive.clone(), place.world.engine.clone());
    let facts = archive.load_facts(event).await.unwrap().unwrap();
    assert_eq!(archive.begin_load(event, &facts).await.unwrap(), Some(2));
    let loading = archive.event(event).await.unwrap().unwrap();
    let load = engine.load_event(&loading, &Inventory::free(&loading.layout)).await.unwrap();
    let OpenEventReply::Done { token } = load else { panic!("{load:?}") };
    let copy = place.redis.saved_writes();
    let placed = [archive.booking(sold.id).await.unwrap().unwrap().booking];
    let placed = engine.load_bookings(&loading, &token, &placed, &[]).await.unwrap();
    let sealed = engine.seal_load(event, 2, &token, "sealed").await.unwrap();
    assert_eq!((placed.code(), sealed.code()), ("ok", "ok"));
    assert!(archive.mark_loaded(event, 2, "sealed").await.unwrap());
    let place = place.fall_back(&copy, ALL_DIE, &mut workers).await;
    // Neither this call nor a worker's opens the incomplete load.
    let opened = place.world.engine.open_event(&loading, "sealed").await.unwrap();
    assert_eq!(opened.code(), "event_not_loaded");
    let workers = place.workers(1).await;
    place.restored(event, 3).await;
    place.becomes(&sold, Status::Confirmed).await;
    assert_eq!(place.seats(event).await.to_lowercase(), "baaaa");
    place.end(workers).await;
});
