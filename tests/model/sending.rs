//! Makes the model's calls on the engine, and compares what comes back.

use holdfast::domain::seat_request::{SectionRange, matching_sections, neighbours};
use holdfast::domain::{Event, Inventory, SeatId};
use holdfast::redis::{
    AbortMode, Attempt, BlockCall, HoldCall, IdempotencyRecord, NotAfter, OpenEventReply,
    RedisError, ScriptReply, SeatSelection, Settlement,
};

use super::call::{Call, Hold, RequestKey, Selection, Sent, Which};
use super::reply::{AnyReply, Body};
use super::rules::HOUSE;
use super::sale::Operated;
use super::stage::{Difference, RECORD_TTL_MS, Run, differs};

/// Calls that one search may need.
const SCANS_MAX: usize = 200;

/// Where a search goes on: sections that it has not seen to their end, and free seats of the
/// first of them that it has found.
struct Rest {
    places: Vec<SectionRange>,
    found: Vec<SeatId>,
    /// Whether an earlier call was somewhere else.
    resumed: bool,
}

impl Run<'_> {
    /// Makes a call, and as many more as a search needs.
    pub async fn send(&mut self, sent: &Sent) -> Result<(), Difference> {
        let mut rest = None;
        for _ in 0..SCANS_MAX {
            rest = self.send_once(sent, rest.as_ref()).await?;
            if rest.is_none() {
                return Ok(());
            }
        }
        Err(differs(format!("the search does not end: {sent:#?}")))
    }

    /// Makes a call, in Redis and in the model; says where a search goes on.
    async fn send_once(
        &mut self,
        sent: &Sent,
        rest: Option<&Rest>,
    ) -> Result<Option<Rest>, Difference> {
        self.stage.engine.pin_not_after(NotAfter(sent.not_after_ms));
        let answer = self.answer(sent, rest).await?;
        let before = matches!(sent.call, Call::Unload { .. }).then(|| self.sale.clone());
        let expected = self.sale.call(sent, &answer, rest.is_some_and(|rest| rest.resumed));
        let met = (sent.call.script().name(), answer.code);
        *self.stage.met.borrow_mut().entry(met).or_default() += 1;
        if let Some(event) = &self.sale.event {
            self.world.generation = self.world.generation.max(event.generation);
        }
        if let Some(before) = before.filter(|_| answer.code == "ok") {
            self.world.lose(&before);
        }
        if answer != expected {
            let text = format!("{sent:#?}\nanswered {answer:#?}\ninstead of {expected:#?}");
            return Err(differs(text));
        }
        let Body::Scan(scan) = answer.body else { return Ok(None) };
        let places = rest.map_or_else(|| self.unbegun(sent).places, |rest| rest.places.clone());
        let Some(section) = scan.section else {
            return Ok(Some(self.unbegun(sent)));
        };
        let mut places = places[section..].to_vec();
        places[0].first = scan.seat;
        Ok(Some(Rest { places, found: scan.found, resumed: true }))
    }

    /// A search that has not begun.
    fn unbegun(&self, sent: &Sent) -> Rest {
        let places = match &sent.call {
            Call::Hold(Hold { selection: Selection::Search { quantity, .. }, .. }) => {
                matching_sections(&self.event.layout, quantity)
            }
            _ => Vec::new(),
        };
        Rest { places, found: Vec::new(), resumed: false }
    }

    async fn answer(&mut self, sent: &Sent, rest: Option<&Rest>) -> Result<AnyReply, RedisError> {
        let (engine, generation) = (&self.stage.engine, sent.generation);
        let event = &Event { generation, ..self.event.clone() };
        Ok(match &sent.call {
            Call::Hold(hold) => {
                let unbegun = self.unbegun(sent);
                self.answer_hold(hold, sent, rest.unwrap_or(&unbegun)).await?
            }
            Call::Forget { keep_ms, bookings } => {
                engine.forget(event.id, generation, *keep_ms, bookings).await?.into()
            }
            Call::Unload { event_version } => {
                let not_after = NotAfter(sent.not_after_ms);
                engine.unload_event(event.id, generation, *event_version, not_after).await?.into()
            }
            Call::Place { own_token, sold, blocked } => {
                engine.load_bookings(event, self.token(*own_token), sold, blocked).await?.into()
            }
            Call::Block { action, seats, reason, layout_version } => {
                let event = &Event { layout_version: *layout_version, ..event.clone() };
                let call = BlockCall { event, action: *action, seats, actor: HOUSE, reason };
                engine.block(&call).await?.into()
            }
            Call::Abort { digest, lost_nonce, not_before_ms } => {
                let not_before = NotAfter(*not_before_ms);
                engine.abort(event.id, generation, digest, lost_nonce, not_before).await?.into()
            }
            Call::ConfirmBegin { booking, user, nonce, lease_ms, attempts_max, key } => {
                let attempt = attempt(nonce, key.as_ref());
                engine
                    .confirm_begin(event, *booking, user, attempt, *lease_ms, *attempts_max)
                    .await?
                    .into()
            }
            Call::ConfirmAbort { booking, which } => {
                engine.confirm_abort(generation, *booking, &mode(which)).await?.into()
            }
            Call::ConfirmCommit { booking, lease, payment } => {
                engine.confirm_commit(generation, *booking, *lease, payment).await?.into()
            }
            Call::ConfirmTakeover { booking, nonce, lease_ms } => {
                engine.confirm_takeover(generation, *booking, nonce, *lease_ms).await?.into()
            }
            Call::ConfirmLate { known, payment } => {
                engine.confirm_late(generation, known, payment).await?.into()
            }
            Call::Cancel { booking, user } => engine.cancel(event, *booking, user).await?.into(),
            Call::Extend { booking, user, nonce, key, log_entries_max } => {
                let attempt = attempt(nonce, key.as_ref());
                engine.extend(event, *booking, user, attempt, *log_entries_max).await?.into()
            }
            Call::Expire { batch } => engine.expire(event.id, generation, *batch).await?.into(),
            Call::Settle { outcome, archived } => {
                let outcome = outcome.as_str();
                let call = Settlement {
                    generation,
                    outcome,
                    valid_until: None,
                    acknowledge: None,
                    booking: archived,
                };
                engine.settle(&call).await?.into()
            }
            Call::UpdateEvent(operated) => {
                engine.update_event(&operated_as(event, operated)).await?.into()
            }
            Call::GetBooking { booking } => engine.get_booking(*booking).await?.into(),
            Call::Beat { min_age_ms, log_entries_max } => {
                let partition = self.partition();
                let answer = engine.beat(partition, *min_age_ms, *log_entries_max).await?;
                answer.into()
            }
            Call::Load(operated) => self.answer_load(&operated_as(event, operated)).await?,
            Call::Open { own_token } => {
                engine.open_event(event, self.token(*own_token)).await?.into()
            }
        })
    }

    fn token(&self, own: bool) -> &str {
        if own { &self.token } else { "another" }
    }

    async fn answer_hold(
        &self,
        hold: &Hold,
        sent: &Sent,
        rest: &Rest,
    ) -> Result<AnyReply, RedisError> {
        let (generation, layout_version) = (sent.generation, hold.layout_version);
        let event = &Event { generation, layout_version, ..self.event.clone() };
        let neighbours = match &hold.selection {
            Selection::Named { seats, .. } => neighbours(&event.layout, seats),
            Selection::Search { .. } => Vec::new(),
        };
        let call = HoldCall {
            event: event.id,
            generation: event.generation,
            layout_version: event.layout_version,
            currency: &event.currency,
            booking: hold.booking,
            user: &hold.user,
            nonce: &hold.nonce,
            selection: match &hold.selection {
                Selection::Named { seats, amount } => SeatSelection::Named {
                    seats,
                    amount: *amount,
                    orphan_rule: event.orphan_rule,
                    neighbours: &neighbours,
                },
                Selection::Search { quantity, bounds } => SeatSelection::Quantity {
                    seats: quantity.seats,
                    split: !quantity.together,
                    places: &rest.places,
                    found: &rest.found,
                    resumed: rest.resumed,
                    bounds: *bounds,
                },
            },
            idempotency: &hold.digest,
            fingerprint: &hold.fingerprint,
            trace: &hold.trace,
            idempotency_ttl_ms: RECORD_TTL_MS,
            replay_window_ms: hold.replay_window_ms,
            log_entries_max: hold.log_entries_max,
            room_number: 0,
            exempt: hold.exempt,
        };
        Ok(self.stage.engine.hold(&call, NotAfter(sent.not_after_ms)).await?.into())
    }

    /// A load says what became of it in a form of its own. The number says whether an earlier
    /// load was kept.
    async fn answer_load(&mut self, event: &Event) -> Result<AnyReply, RedisError> {
        let inventory = Inventory::free(&event.layout);
        let (code, body) = match self.stage.engine.load_event(event, &inventory).await? {
            OpenEventReply::Done { token } => {
                let kept = token == self.token;
                self.token = token;
                ("ok", Body::Numbers(vec![i64::from(kept)]))
            }
            refusal => (refusal.code(), Body::Empty),
        };
        Ok(AnyReply { code, now_ms: self.sale.now_ms, body })
    }
}

fn attempt<'a>(nonce: &'a str, key: Option<&'a RequestKey>) -> Attempt<'a> {
    let record = key.map(|RequestKey { digest, fingerprint }| IdempotencyRecord {
        digest,
        fingerprint,
        ttl_ms: RECORD_TTL_MS,
    });
    Attempt { nonce, record }
}

fn mode(which: &Which) -> AbortMode {
    match which {
        Which::Lease(lease) => AbortMode::Lease(*lease),
        Which::Nonce { nonce, not_before_ms } => {
            AbortMode::Nonce { nonce: nonce.clone(), not_before: NotAfter(*not_before_ms) }
        }
    }
}

fn operated_as(event: &Event, operated: &Operated) -> Event {
    Event {
        revision: operated.revision,
        status: operated.status,
        on_sale_at_ms: Some(operated.on_sale_at_ms),
        off_sale_at_ms: Some(operated.off_sale_at_ms),
        ..event.clone()
    }
}
