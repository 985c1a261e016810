//! One open event on a Redis, under a name of the run's own, and calls upon it.

use std::error::Error;
use std::sync::Arc;

use holdfast::domain::event::LoadState;
use holdfast::domain::layout::Row;
use holdfast::domain::seat_request::SectionRange;
use holdfast::domain::{
    Booking, BookingId, Event, EventId, EventStatus, Inventory, Layout, OrphanRule, Partition,
    SeatId, Section, UserId,
};
use holdfast::redis::scripts::{ClockSource, Scripts};
use holdfast::redis::{
    Engine, HoldCall, HoldReply, OpenEventReply, RedisSettings, ScanBounds, SeatSelection, Timed,
    new_nonce,
};
use holdfast::start::Unobserved;

/// Price of every seat, minor units.
pub const PRICE: i64 = 100;
/// What one search may look at: as the sale itself has it.
const BOUNDS: ScanBounds = ScanBounds { seats_max: 50_000, runs_max: 1_000 };

/// One open event.
pub struct Stage {
    pub engine: Engine,
    pub event: Event,
    pub partition: Partition,
    /// Whether holds need no session in a waiting room.
    pub exempt: bool,
}

impl Stage {
    /// Opens an event of this layout; `inventory` says what is taken from the beginning.
    pub async fn open(
        url: &str,
        layout: Layout,
        inventory: Option<Inventory>,
    ) -> Result<Self, Box<dyn Error>> {
        let settings = RedisSettings {
            address: url.try_into()?,
            namespace: format!("bench_{}", new_nonce()),
            partitions: 1,
            clients: 2,
            timeout_ms: 2_000,
            in_flight_max: 10_000,
        };
        let scripts = Scripts::embedded(ClockSource::Redis);
        let engine = Engine::connect(settings, scripts, Arc::new(Unobserved)).await?;
        let inventory = inventory.unwrap_or_else(|| Inventory::free(&layout));
        let event = event(layout);
        let loaded = engine.load_event(&event, &inventory).await?;
        let OpenEventReply::Done { token } = loaded else {
            return Err(format!("the event was not loaded: {loaded:?}").into());
        };
        engine.open_event(&event, &token).await?;
        let partition = engine.keys().partition_of(event.id);
        Ok(Stage { engine, event, partition, exempt: false })
    }

    /// One call of `hold` under a key of its own.
    pub async fn hold(
        &self,
        user: &str,
        selection: SeatSelection<'_>,
    ) -> Result<Timed<HoldReply>, Box<dyn Error>> {
        let user: UserId = user.parse()?;
        let nonce = new_nonce();
        let call = HoldCall {
            event: self.event.id,
            generation: self.event.generation,
            layout_version: self.event.layout_version,
            currency: &self.event.currency,
            booking: BookingId::new(self.event.id, 0, rand::random()),
            user: &user,
            nonce: &nonce,
            selection,
            idempotency: &nonce,
            fingerprint: &nonce,
            trace: "",
            idempotency_ttl_ms: 60_000,
            replay_window_ms: 0,
            log_entries_max: u64::from(u32::MAX),
            room_number: 0,
            exempt: self.exempt,
        };
        let not_after = self.engine.not_after(self.partition).await?;
        Ok(self.engine.hold(&call, not_after).await?)
    }

    /// Holds a seat of the caller's own and gives it back.
    pub async fn hold_and_cancel(&self, caller: u32) -> Result<(), Box<dyn Error>> {
        let seat = [SeatId(self.event.layout.total_seats() - caller)];
        let answer = self.hold(&format!("u{caller}"), SeatSelection::named(&seat, PRICE)).await?;
        must_be(answer.code(), "ok")?;
        self.cancel(&answer.into_booking()?).await
    }

    /// Gives a hold up.
    pub async fn cancel(&self, booking: &Booking) -> Result<(), Box<dyn Error>> {
        let code = self.engine.cancel(&self.event, booking.id, &booking.user).await?.code();
        must_be(code, "ok")
    }
}

/// So many seats of one of these places.
pub fn quantity(seats: u32, split: bool, places: &[SectionRange]) -> SeatSelection<'_> {
    SeatSelection::Quantity { seats, split, places, found: &[], resumed: false, bounds: BOUNDS }
}

/// Fails unless the code is the one that the measurement is about.
pub fn must_be(got: &str, want: &str) -> Result<(), Box<dyn Error>> {
    match got == want {
        true => Ok(()),
        false => Err(format!("{got} instead of {want}").into()),
    }
}

/// One section of so many rows of a hundred seats.
pub fn rows_of_a_hundred(name: &str, rows: u32) -> Section {
    let rows = (1..=rows).map(|row| Row { row: row.to_string(), seats: 100 });
    Section { name: name.into(), price: PRICE, rows: Some(rows.collect()), capacity: None }
}

/// An event on sale.
pub fn event(layout: Layout) -> Event {
    Event {
        id: EventId(1),
        name: "Benchmark".into(),
        description: String::new(),
        venue: String::new(),
        currency: "EUR".into(),
        starts_at_ms: None,
        on_sale_at_ms: None,
        off_sale_at_ms: None,
        hold_ttl_ms: 3_600_000,
        max_hold_ms: 3_600_000,
        max_seats_per_user: 10,
        orphan_rule: OrphanRule::Off,
        cancel_policy: Default::default(),
        status: EventStatus::OnSale,
        revision: 1,
        edits: 0,
        load_state: LoadState::New,
        generation: 1,
        layout_version: 1,
        seat_names_have_section: true,
        layout: Arc::new(layout),
        created_at_ms: 0,
    }
}
