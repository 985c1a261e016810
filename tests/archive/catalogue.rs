//! The database and its catalogue: deployment, events, changes, opening.

use holdfast::domain::event::{CancelPolicy, Cancellation};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn database_of_another_number_of_partitions_is_refused() {
    let database = unique_name();
    let archive = open(shared_mongodb(), &database, OP_TIMEOUT_MS).await;
    archive.ping().await.unwrap();
    assert!(!archive.server_info().await.unwrap().version.is_empty());
    archive.prepare(16).await.unwrap();
    archive.prepare(16).await.unwrap();
    let refused = archive.prepare(8).await.unwrap_err();
    assert!(matches!(refused, ArchiveError::Refused(_)));
    assert!(refused.to_string().contains("set `partitions` to 16"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn catalogue_stores_events_unchanged() {
    let archive = archive().await;
    let requests = (0..20).map(|_| archive.next_event_id());
    let mut ids = futures_util::future::try_join_all(requests).await.unwrap();
    ids.sort_unstable();
    let expected: Vec<EventId> = (1..=20).map(EventId).collect();
    assert_eq!(ids, expected, "ids begin with 1 and are unique");

    let event = new_event(ids[0]);
    archive.insert_event(&event).await.unwrap();
    archive.insert_event(&event).await.unwrap();
    archive.insert_event(&new_event(ids[1])).await.unwrap();
    assert_eq!(archive.event(ids[0]).await.unwrap().as_ref(), Some(&event));
    assert_eq!(archive.event(EventId(99)).await.unwrap(), None);
    let listed = archive.event_summaries_after(ids[0], 10).await.unwrap();
    assert_eq!(listed, [new_event(ids[1]).summary()]);
    let listed = archive.event_summaries(&[ids[0], EventId(99)]).await.unwrap();
    assert_eq!(listed, [event.summary()]);
    let stamps = archive.event_stamps(None, 10).await.unwrap();
    let stamped: Vec<EventId> = stamps.iter().map(|stamp| stamp.id).collect();
    assert_eq!((stamped, stamps[1].stamp()), (vec![ids[1], ids[0]], event.stamp()));
    assert_eq!(archive.event_stamps(Some(ids[1]), 10).await.unwrap().len(), 1);
    let heads = archive.event_heads(ids[0], 10).await.unwrap();
    assert_eq!((heads.len(), heads[0].id, heads[0].total_seats), (1, ids[1], 5));
}

/// As after restoring a part of the database from a backup.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_with_a_used_id_is_refused() {
    let archive = archive().await;
    let event = new_event(EventId(1));
    archive.insert_event(&event).await.unwrap();
    let mut other = new_event(EventId(1));
    other.name = "Another".to_owned();
    let refused = archive.insert_event(&other).await.unwrap_err();
    assert!(refused.to_string().contains("counters.event is behind"), "{refused}");
    assert_eq!(archive.event(EventId(1)).await.unwrap(), Some(event));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_of_an_older_build_has_the_default_cancel_policy() {
    let name = unique_name();
    let archive = open(shared_mongodb(), &name, OP_TIMEOUT_MS).await;
    archive.prepare(PARTITIONS).await.unwrap();
    let event = new_event(EventId(1));
    archive.insert_event(&event).await.unwrap();
    let head = async || archive.event_head(event.id).await.unwrap().unwrap();
    assert_eq!(head().await.cancel_policy(), event.cancel_policy);
    let client = mongodb::Client::with_uri_str(&shared_mongodb().url()).await.unwrap();
    let events = client.database(&name).collection::<mongodb::bson::Document>("events");
    let old = mongodb::bson::doc! { "$unset": { "cancellation": "", "cancel_until_ms": "" } };
    events.update_one(mongodb::bson::doc! { "_id": 1 }, old).await.unwrap();
    assert_eq!(head().await.cancel_policy(), CancelPolicy::default());
    let read = archive.event(event.id).await.unwrap().unwrap();
    assert_eq!(read.cancel_policy, CancelPolicy::default());
    let change = EventChange {
        cancellation: Some(Cancellation::NotAllowed),
        cancel_until_ms: Some(BORN_MS),
        ..Default::default()
    };
    let changed = archive.change_event(event.id, &change).await.unwrap().unwrap();
    assert_eq!((changed.cancel_policy, changed.revision), (event.cancel_policy, event.revision));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inventory_is_opened_once() {
    let archive = archive().await;
    let event = new_event(EventId(1));
    archive.insert_event(&event).await.unwrap();
    let found = archive.events_not_opened(BORN_MS, 10).await.unwrap();
    assert!(found.is_empty(), "not older than {BORN_MS}");
    let found = archive.events_not_opened(BORN_MS + 1, 10).await.unwrap();
    assert_eq!(found[0].id, event.id);

    let recorded = archive.mark_opened(event.id, 2, "t0").await.unwrap();
    assert_eq!(recorded, None, "another generation");
    let tokens: Vec<String> = (1..=8).map(|n| format!("t{n}")).collect();
    let tries = tokens.iter().map(|token| archive.mark_opened(event.id, 1, token));
    let won = futures_util::future::try_join_all(tries).await.unwrap();
    assert!(won[0].is_some() && won.iter().all(|token| *token == won[0]), "one token: {won:?}");
    assert!(archive.events_not_opened(BORN_MS + 1, 10).await.unwrap().is_empty());
    let head = archive.event_head(event.id).await.unwrap().unwrap();
    assert_eq!(head.load_state, LoadState::Opened);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revision_counts_changes_of_status_and_times() {
    let archive = archive().await;
    let event = new_event(EventId(1));
    archive.insert_event(&event).await.unwrap();
    let change = |change: EventChange| {
        let archive = archive.clone();
        async move { archive.change_event(EventId(1), &change).await.unwrap().unwrap() }
    };
    let renamed = change(EventChange { name: Some("B".into()), ..Default::default() }).await;
    assert_eq!((renamed.name.as_str(), renamed.revision), ("B", event.revision));
    let paused = EventChange { status: Some(EventStatus::Paused), ..Default::default() };
    let first = change(paused.clone()).await;
    assert_eq!((first.status, first.revision), (EventStatus::Paused, event.revision + 1));
    let again = change(paused.clone()).await;
    assert_eq!(again.edits, first.edits + 1, "still a write");
    let again = Event { edits: first.edits, ..again };
    assert_eq!(again, first, "a repeated change has no effect");
    let later = EventChange { on_sale_at_ms: Some(BORN_MS + 5), ..Default::default() };
    assert_eq!(change(later).await.revision, event.revision + 2);
    assert_eq!(archive.change_event(EventId(2), &paused).await.unwrap(), None);

    // Each of several concurrent changes is one revision.
    let changes = (0..6).map(|n| {
        change(EventChange { on_sale_at_ms: Some(BORN_MS + 100 + n), ..Default::default() })
    });
    futures_util::future::join_all(changes).await;
    let head = archive.event_head(EventId(1)).await.unwrap().unwrap();
    assert_eq!(head.revision, event.revision + 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrently_changed_times_stay_in_order() {
    let archive = archive().await;
    for id in (1..=10).map(EventId) {
        archive.insert_event(&new_event(id)).await.unwrap();
        let change = |change: EventChange| {
            let archive = archive.clone();
            async move { archive.change_event(id, &change).await }
        };
        // Each change is valid alone.
        let (later, earlier) = futures_util::future::join(
            change(EventChange { on_sale_at_ms: Some(BORN_MS + 900), ..Default::default() }),
            change(EventChange { starts_at_ms: Some(BORN_MS + 500), ..Default::default() }),
        )
        .await;
        let refused = [&later, &earlier].map(|one| matches!(one, Err(ArchiveError::Invalid(_))));
        assert_eq!(refused.iter().filter(|refused| **refused).count(), 1, "{later:?} {earlier:?}");
        let event = archive.event(id).await.unwrap().unwrap();
        assert_eq!(event.sale_times().check(), Ok(()));
        assert_eq!(event.off_sale_at_ms, event.starts_at_ms, "the end of sale follows");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_of_an_older_build_has_no_end_of_sale_until_one_is_set() {
    let database = unique_name();
    let archive = open(shared_mongodb(), &database, OP_TIMEOUT_MS).await;
    archive.insert_event(&new_event(EventId(1))).await.unwrap();
    let client = mongodb::Client::with_uri_str(shared_mongodb().url()).await.unwrap();
    let events = client.database(&database).collection::<mongodb::bson::Document>("events");
    let unset = mongodb::bson::doc! { "$unset": { "off_sale_at_ms": "" } };
    events.update_one(mongodb::bson::doc! { "_id": 1_i64 }, unset).await.unwrap();
    let end = async || {
        let head = archive.event_head(EventId(1)).await.unwrap().unwrap();
        assert_eq!(
            archive.event(EventId(1)).await.unwrap().unwrap().off_sale_at_ms,
            head.off_sale_at_ms
        );
        head.off_sale_at_ms
    };
    assert_eq!(end().await, None);
    let change =
        async |change: EventChange| archive.change_event(EventId(1), &change).await.unwrap();
    change(EventChange { starts_at_ms: Some(BORN_MS + 2_000), ..Default::default() }).await;
    assert_eq!(end().await, None);
    change(EventChange { off_sale_at_ms: Some(BORN_MS + 1_500), ..Default::default() }).await;
    assert_eq!(end().await, Some(BORN_MS + 1_500));
}

fn new_event(id: EventId) -> Event {
    let section = |name: &str, capacity| Section {
        name: name.into(),
        price: 450,
        rows: None,
        capacity: Some(capacity),
    };
    let layout = Layout::new(vec![section("Floor", 3), section("Balcony", 2)]).unwrap();
    Event {
        id,
        name: "A".into(),
        description: "d".into(),
        venue: "v".into(),
        currency: "EUR".into(),
        starts_at_ms: Some(BORN_MS + 1_000),
        on_sale_at_ms: None,
        off_sale_at_ms: Some(BORN_MS + 1_000),
        hold_ttl_ms: 120_000,
        max_hold_ms: 600_000,
        max_seats_per_user: 10,
        orphan_rule: holdfast::domain::OrphanRule::Warn,
        cancel_policy: CancelPolicy { rule: Cancellation::NotAllowed, until_ms: Some(BORN_MS) },
        status: EventStatus::OnSale,
        revision: 1,
        edits: 0,
        load_state: LoadState::New,
        generation: 1,
        layout_version: 1,
        seat_names_have_section: true,
        layout: Arc::new(layout),
        created_at_ms: BORN_MS,
    }
}
