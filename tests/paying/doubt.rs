//! An unknown result is not reported as final, and a reported one stays: doubtful charges, sales
//! written twice, and payments that cannot be settled.

use std::sync::Arc;

use holdfast::archive::NoObserver;
use holdfast::domain::{
    Booking, BookingId, Entry, EventId, Intent, IntentState, Kind, Outcome, Status,
};
use holdfast::faults::Faults;
use holdfast::lifecycle::{Supervisor, shutdown_channel};
use holdfast::live::LiveSettings;
use holdfast::payments::{
    Charge, Payment, PaymentOrder, PaymentState, Provider, ProviderFuture, RefundOrder,
    RefundResult, Simulated, SimulatedSettings,
};
use holdfast::sale::archiving::{Archiver, SettleResult};
use holdfast::sale::restore::{NoProgress, Restorer};
use holdfast::sale::{ConfirmRequest, Confirmed, Observers, Parts, Sale};
use holdfast::start::Unobserved;
use holdfast::telemetry::Metrics;

use crate::on_one_redis;
use crate::support::servers::{Server, shared_mongodb, shared_redis};
use crate::support::world::{World, impatient, sale_settings, token_keys};

/// A provider that charges; meanwhile Redis falls back to an earlier state.
struct WhileRedisForgets {
    inner: Simulated,
    redis: &'static Server,
    /// Key, field and value of the booking as it was held.
    record: [String; 3],
}

impl Provider for WhileRedisForgets {
    fn name(&self) -> &'static str {
        "forgetful"
    }
    fn create<'a>(&'a self, order: &'a PaymentOrder) -> ProviderFuture<'a, String> {
        self.inner.create(order)
    }
    fn charge<'a>(&'a self, charge: &'a Charge) -> ProviderFuture<'a, PaymentState> {
        Box::pin(async {
            let charged = self.inner.charge(charge).await;
            let [key, field, value] = &self.record;
            self.redis.command(&["HSET", key, field, value]);
            charged
        })
    }
    fn get<'a>(&'a self, payment: &'a str) -> ProviderFuture<'a, Option<Payment>> {
        self.inner.get(payment)
    }
    fn cancel<'a>(&'a self, payment: &'a str) -> ProviderFuture<'a, PaymentState> {
        self.inner.cancel(payment)
    }
    fn refund<'a>(&'a self, order: &'a RefundOrder) -> ProviderFuture<'a, RefundResult> {
        self.inner.refund(order)
    }
}

fn paying(booking: &Booking, card: &str) -> ConfirmRequest {
    ConfirmRequest {
        user: booking.user.clone(),
        booking: booking.id,
        payment_method: card.into(),
        amount: None,
        key: None,
    }
}

/// The intent of a confirmation that began earlier, under an older lease.
async fn begun_before(world: &World, booking: &Booking, payment: &str) -> Intent {
    let leased = Booking { lease: 0, nonce: "lost".into(), ..booking.clone() };
    let intent = Intent::first(&leased, payment, IntentState::Open, 0);
    assert!(world.archive.insert_intent(&intent).await.unwrap());
    intent
}

async fn object_of(world: &World, booking: &Booking) -> String {
    let provider = Simulated::new(&world.archive, SimulatedSettings::default());
    let (amount, currency) = (booking.amount, booking.currency.clone());
    provider.create(&PaymentOrder { booking: booking.id, amount, currency }).await.unwrap()
}

async fn intent(world: &World, id: BookingId) -> Intent {
    world.archive.intent(id).await.unwrap().expect("there is an intent")
}

on_one_redis!(charge_lost_by_redis_is_not_reported_as_declined, async |flavor| {
    let redis = shared_redis(flavor);
    let world = World::with(redis, shared_mongodb(), impatient()).await;
    let event = world.event(4).await;
    let held = world.hold("ann", event, &[1], None).await.unwrap().booking;
    let provider = WhileRedisForgets {
        inner: Simulated::new(&world.archive, SimulatedSettings::default()),
        redis,
        record: [world.engine.keys().bookings(event), held.id.to_string(), held.to_record()],
    };
    let (trigger, shutdown) = shutdown_channel();
    let sale = Sale::start(
        Parts {
            engine: world.engine.clone(),
            archive: world.archive.clone(),
            provider: Arc::new(provider),
            keys: token_keys(),
            settings: impatient(),
            live: LiveSettings::default(),
            supervisor: Supervisor::new(&Metrics::new("test")),
        },
        Observers { sale: world.counts.clone(), live: Arc::new(Unobserved) },
        Arc::new(Faults::default()),
        &shutdown,
    );
    let answer = sale.confirm(paying(&held, "card_ok")).await.unwrap();
    let Confirmed::Pending(view) = answer else { panic!("{answer:?}") };
    assert_eq!(view.booking.status, Status::Confirming);
    trigger.request();
    assert!(sale.supervisor().finish(std::time::Duration::from_secs(60)).await);
    world.stop().await;
});

on_one_redis!(failed_attempt_does_not_decline_an_earlier_one, async |flavor| {
    let world = World::with(shared_redis(flavor), shared_mongodb(), impatient()).await;
    let event = world.event(4).await;
    let held = world.hold("ann", event, &[1], None).await.unwrap().booking;
    let object = object_of(&world, &held).await;
    begun_before(&world, &held, &object).await;
    let answer = world.sale.confirm(paying(&held, "card_error")).await.unwrap();
    assert!(matches!(answer, Confirmed::Pending(_)), "{answer:?}");
    assert_eq!(intent(&world, held.id).await.state, IntentState::Open);
    // An attempt that was never sent is declined.
    let other = world.hold("bob", event, &[2], None).await.unwrap().booking;
    world.sale.confirm(paying(&other, "card_error")).await.unwrap_err();
    assert_eq!(intent(&world, other.id).await.state, IntentState::Idle);
    world.stop().await;
});

on_one_redis!(unsettled_payment_does_not_delay_others, async |flavor| {
    let world = World::with(shared_redis(flavor), shared_mongodb(), impatient()).await;
    let event = world.event(4).await;
    let held = world.hold("ann", event, &[1], None).await.unwrap().booking;
    begun_before(&world, &held, "of another provider").await;
    world.sale.cancel(&held.user, held.id).await.unwrap();
    world.sale.payments().reconcile(held.id).await.unwrap_err();
    let due_ms = intent(&world, held.id).await.due_ms.expect("it stays due");
    assert!(due_ms > 0, "it is looked at later");
    assert!(world.archive.intents_due(due_ms, 10).await.unwrap().is_empty());
    world.stop().await;
});

/// A paid booking in Redis, and its log entry.
async fn committed(world: &World, event: EventId, user: &str, seat: u32) -> (Booking, Entry) {
    let held = world.hold(user, event, &[seat], None).await.unwrap();
    world.confirm(&held).await.unwrap();
    let sold = |entry: &Entry| {
        let id = entry.transition.as_ref().map(|transition| transition.booking);
        entry.kind == Kind::Sold && id == Some(held.booking.id)
    };
    let entry = world.entries(event).await.into_iter().find(sold).expect("it was sold");
    (held.booking, entry)
}

on_one_redis!(sale_written_twice_has_one_receipt, async |flavor| {
    let world = World::with(shared_redis(flavor), shared_mongodb(), impatient()).await;
    let event = world.event(4).await;
    let archiver = Archiver::new(world.engine.clone(), world.archive.clone(), 86_400);
    let partition = world.partition(event);
    for in_one_batch in [false, true] {
        let seat = 1 + u32::from(in_one_batch);
        let (booking, second) = committed(&world, event, "ann", seat).await;
        // Of a primary that was lost after the worker had read it.
        let mut first = second.clone();
        first.id.ms -= 500;
        let paid = first.transition.as_mut().expect("a sale");
        paid.paid_ms -= 500;
        paid.version -= 1;
        let batches = match in_one_batch {
            true => vec![vec![(partition, first), (partition, second)]],
            false => vec![vec![(partition, first)], vec![(partition, second)]],
        };
        let mut settlements = Vec::new();
        for batch in batches {
            settlements.extend(archiver.store(&batch, &NoObserver).await.unwrap().settlements);
        }
        assert_eq!(settlements.len(), 2);
        // The booking that the archive has not decided is settled first.
        let other = usize::from(!in_one_batch);
        assert_eq!(archiver.settle(None, &settlements[other], |_| {}).await, SettleResult::Done);
        let here = world.engine.get_booking(booking.id).await.unwrap().into_booking().unwrap();
        let there = world.archive.booking(booking.id).await.unwrap().unwrap().booking;
        assert_eq!((here.status, here.paid_ms), (Status::Confirmed, there.paid_ms));
    }
    world.stop().await;
});

on_one_redis!(seat_sold_twice_is_refused_in_a_newer_generation, async |flavor| {
    let world = World::with(shared_redis(flavor), shared_mongodb(), impatient()).await;
    let event = world.event(4).await;
    let archiver = Archiver::new(world.engine.clone(), world.archive.clone(), 86_400);
    let partition = world.partition(event);
    let (_, owners) = committed(&world, event, "ann", 1).await;
    let settlements =
        archiver.store(&[(partition, owners)], &NoObserver).await.unwrap().settlements;
    assert_eq!(archiver.settle(None, &settlements[0], |_| {}).await, SettleResult::Done);
    let (twice, mut sold) = committed(&world, event, "bob", 2).await;
    // As if it had been sold before its owner's sale was restored.
    sold.transition.as_mut().expect("a sale").seats = vec![holdfast::domain::SeatId(1)];
    let (engine, archive) = (world.engine.clone(), world.archive.clone());
    let restorer = Restorer::new(engine, archive, &sale_settings());
    assert!(restorer.restore(event, &NoProgress).await.unwrap().is_some());
    let settlements = archiver.store(&[(partition, sold)], &NoObserver).await.unwrap().settlements;
    assert_eq!(settlements[0].sale.outcome, Outcome::Refund);
    assert_eq!(archiver.settle(None, &settlements[0], |_| {}).await, SettleResult::Done);
    assert_eq!(world.status(twice.id).await, Some(Status::Voided));
    world.stop().await;
});
