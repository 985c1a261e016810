//! The specifics of the simulated provider.

use std::time::Instant;

use holdfast::archive::{SimulatedPayment, SimulatedState};

use super::*;
use crate::support::Flavor;
use crate::support::servers::{available, private_mongodb, shared_redis};
use crate::support::world::{World, impatient};

/// Bookings of the test of shares: enough that a share of 0 or 1 is practically impossible.
const BOOKINGS: u32 = 40;

impl Rig {
    /// What the simulated provider's books have.
    async fn booked(&self, booking: BookingId) -> Option<SimulatedPayment> {
        match &self.behind {
            Behind::Archive(archive) => archive.simulated_payments().find(booking).await.unwrap(),
            Behind::Server(_) => panic!("this is Stripe"),
        }
    }
}

#[tokio::test]
async fn create_writes_nothing() {
    let rig = Rig::simulated(PATIENT).await;
    let order = order();
    let payment = rig.provider.create(&order).await.unwrap();
    assert_eq!(rig.provider.get(&payment).await.unwrap().unwrap().state, PaymentState::Open);
    assert_eq!(rig.booked(order.booking).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sale_is_booked_once() {
    let flavor = if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey };
    let world = World::with(shared_redis(flavor), shared_mongodb(), impatient()).await;
    let event = world.event(2).await;
    let held = world.hold("ann", event, &[1, 2], None).await.unwrap();
    let booking = held.booking.id;
    assert_eq!(world.payment(booking).await, None);
    for _ in 0..2 {
        world.confirm(&held).await.unwrap();
    }
    let paid = world.payment(booking).await.unwrap();
    assert_eq!((paid.charges, paid.amount, paid.currency.as_str()), (1, 200, "EUR"));
    world.stop().await;
}

#[tokio::test]
async fn cancelling_an_uncharged_object_leaves_a_tombstone() {
    let rig = Rig::simulated(PATIENT).await;
    let charge = rig.ready().await;
    assert_eq!(rig.provider.cancel(&charge.payment).await, Ok(PaymentState::Cancelled));
    let found = rig.booked(charge.booking).await.unwrap();
    assert_eq!((found.state, found.amount), (SimulatedState::Cancelled, 1_000));
    assert_eq!((found.charges, found.refunded), (0, 0));
}

#[tokio::test]
async fn random_decline_is_kept_for_its_attempt() {
    let archive = archive(shared_mongodb()).await;
    let settings =
        SimulatedSettings { timeout: PATIENT, decline_percent: 50, ..SimulatedSettings::default() };
    let provider = Simulated::new(&archive, settings);
    let mut declined = 0;
    for _ in 0..BOOKINGS {
        let order = order();
        let charge = charge_of(&order, &provider.create(&order).await.unwrap());
        let first = provider.charge(&charge).await;
        for _ in 0..3 {
            assert_eq!(provider.charge(&charge).await, first);
        }
        match first {
            Ok(PaymentState::Paid) => {}
            Err(PaymentError::Declined(_)) => declined += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!((1..BOOKINGS).contains(&declined), "{declined} of {BOOKINGS}");
}

#[tokio::test]
async fn every_call_has_the_configured_latency() {
    let archive = archive(shared_mongodb()).await;
    let latency = Duration::from_millis(150);
    let settings = SimulatedSettings { timeout: PATIENT, latency, ..SimulatedSettings::default() };
    let provider = Simulated::new(&archive, settings);
    let order = order();
    let began = Instant::now();
    let payment = provider.create(&order).await.unwrap();
    let charge = charge_of(&order, &payment);
    provider.charge(&charge).await.unwrap();
    provider.get(&payment).await.unwrap();
    provider.cancel(&payment).await.unwrap();
    provider.refund(&refund_of(&charge, 1_000)).await.unwrap();
    assert!(began.elapsed() >= 5 * latency);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absent_mongodb_is_unknown_within_the_bound() {
    let server = private_mongodb();
    let archive = archive(&server).await;
    let timeout = Duration::from_secs(2);
    let settings = SimulatedSettings { timeout, ..SimulatedSettings::default() };
    let provider = Simulated::new(&archive, settings);
    let order = order();
    let charge = charge_of(&order, &provider.create(&order).await.unwrap());
    provider.charge(&charge).await.unwrap();
    server.freeze();
    let began = Instant::now();
    let other = self::order();
    let lost = charge_of(&other, &provider.create(&other).await.unwrap());
    let unknown = provider.charge(&lost).await;
    assert!(matches!(unknown, Err(PaymentError::Unknown(_))), "{unknown:?}");
    assert!(began.elapsed() < timeout + Duration::from_secs(20));
    server.thaw();
    // Whether or not the lost call was carried out, it is paid once.
    let deadline = Instant::now() + Duration::from_secs(60);
    while provider.charge(&lost).await != Ok(PaymentState::Paid) {
        assert!(Instant::now() < deadline, "MongoDB answers again");
    }
    let found = archive.simulated_payments().find(lost.booking).await.unwrap().unwrap();
    assert_eq!((found.charges, found.paid_attempt), (1, Some(1)));
    assert_eq!(provider.charge(&charge).await, Ok(PaymentState::Paid));
}

#[tokio::test]
async fn charge_of_another_amount_is_not_done() {
    let rig = Rig::simulated(PATIENT).await;
    let charge = rig.ready().await;
    let more = Charge { amount: charge.amount + 1, ..charge.clone() };
    let dollars = Charge { currency: "USD".into(), ..charge.clone() };
    for other in [more, dollars] {
        let refused = rig.provider.charge(&other).await;
        assert!(matches!(refused, Err(PaymentError::NotDone(_))), "{refused:?}");
    }
    assert_eq!(rig.booked(charge.booking).await, None);
}
