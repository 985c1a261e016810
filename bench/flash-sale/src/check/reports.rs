//! The bookings of a history, each with the states that responses reported.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::CLOCK_SLACK_NS;
use crate::Failure;
use crate::history::{BookingState, Call, End, Line, Operation, Reader, Run};

/// One booking and when each of its states was reported.
#[derive(Clone, Debug)]
pub struct BookingReport {
    /// The event whose seats it has.
    pub event: u32,
    /// The first reported state. Id, owner, seats and price never change.
    pub booking: BookingState,
    /// When the first request that can have created it was sent, ns.
    pub requested_ns: u64,
    /// When the first response with this booking arrived.
    pub held_ns: u64,
    /// When a payment was first sent.
    pub pay_sent_ns: Option<u64>,
    /// When the first response with CONFIRMED arrived.
    pub confirmed_ns: Option<u64>,
    /// When the first response with VOIDED arrived.
    pub voided_ns: Option<u64>,
    /// When a cancellation was first sent.
    pub cancel_sent_ns: Option<u64>,
    /// When the first response with CANCELLED arrived.
    pub cancelled_ns: Option<u64>,
    /// The hold request that created it, an index of `hold_requests`.
    request: usize,
}

/// A history's bookings.
#[derive(Clone, Debug)]
pub struct BookingReports {
    /// The run.
    pub run: Run,
    /// By id.
    pub bookings: HashMap<String, BookingReport>,
    /// Number of calls in the history.
    pub calls: u64,
    /// Contradictions between single responses.
    pub contradictions: Vec<String>,
    /// Indices of hold requests by user, key and body. A repeated request is the same one.
    request_indices: HashMap<(String, Option<String>, String), usize>,
    /// When each was first sent, and the booking of its response.
    hold_requests: Vec<(u64, Option<String>)>,
    /// Events of calls that the run does not name.
    unknown_events: BTreeSet<u32>,
}

impl BookingReports {
    /// Reads a history.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let (mut reader, run) = Reader::open(path)?;
        let mut reports = BookingReports::new(run);
        let mut end = None;
        while let Some(line) = reader.next()? {
            match line {
                Line::Call(call) => reports.add(&call),
                Line::End(last) => end = Some(last),
                Line::Run(_) => return Err("a history has one run".into()),
            }
        }
        reports.complete(end.as_ref())
    }

    /// Completes the reports.
    ///
    /// # Errors
    /// If there is no end, or it counts other calls than were added.
    pub fn complete(mut self, end: Option<&End>) -> Result<Self, Failure> {
        self.finish();
        match end {
            Some(end) if end.calls == self.calls => Ok(self),
            Some(end) => {
                let (expected, found) = (end.calls, self.calls);
                Err(format!("the history has {found} calls, its last line counts {expected}")
                    .into())
            }
            None => Err("the history is cut off: its last line is missing".into()),
        }
    }

    /// Creates an empty set.
    pub fn new(run: Run) -> Self {
        BookingReports {
            run,
            bookings: HashMap::new(),
            calls: 0,
            contradictions: Vec::new(),
            request_indices: HashMap::new(),
            hold_requests: Vec::new(),
            unknown_events: BTreeSet::new(),
        }
    }

    /// Adds a call. Calls must be added in the order of their responses.
    pub fn add(&mut self, call: &Call) {
        self.calls += 1;
        let event = self.event_of(call);
        match call.operation {
            Operation::Map | Operation::Join | Operation::Wait | Operation::Leave => {}
            Operation::Hold => self.add_hold(call, event),
            Operation::Confirm | Operation::Look | Operation::Cancel => self.add_other(call, event),
        }
    }

    /// Returns a call's event. One that the run does not name is a contradiction, because nothing
    /// else would be compared with it.
    fn event_of(&mut self, call: &Call) -> u32 {
        // Calls of format 1 name no event.
        let is_unnamed = self.run.format == 1 && call.event == 0;
        let event = if is_unnamed { self.run.events[0].event } else { call.event };
        let is_known = self.run.events.iter().any(|one| one.event == event);
        if !is_known && self.unknown_events.insert(event) {
            self.contradictions.push(format!("calls of event {event}, which is not of this run"));
        }
        event
    }

    /// Computes when each booking's hold was first sent; call it after the last [`Self::add`].
    pub(super) fn finish(&mut self) {
        for report in self.bookings.values_mut() {
            report.requested_ns = self.hold_requests[report.request].0;
        }
    }

    fn add_hold(&mut self, call: &Call, event: u32) {
        let Some(sent_ns) = call.sent_ns else { return };
        let body = call.request.as_ref().map(ToString::to_string).unwrap_or_default();
        let name = (call.user.clone(), call.key.clone(), body);
        let request = *self.request_indices.entry(name).or_insert(self.hold_requests.len());
        if request == self.hold_requests.len() {
            self.hold_requests.push((u64::MAX, None));
        }
        let (first_sent_ns, answered_by) = &mut self.hold_requests[request];
        *first_sent_ns = (*first_sent_ns).min(sent_ns);
        let Some(booking) = &call.booking else { return };
        // After its booking has ended the same request creates a new one.
        let lapses = *first_sent_ns + ttl_ns(&self.run, event);
        let before = answered_by.replace(booking.id.clone());
        self.compare_to_request(call, booking, event);
        if let (Some(before), Some(key)) = (before, &call.key)
            && before != booking.id
            && call.answered_ns + CLOCK_SLACK_NS < lapses
        {
            let ids = format!("{before} and {}", booking.id);
            self.contradictions.push(format!("key {key} was answered with bookings {ids}"));
        }
        if self.bookings.contains_key(&booking.id) {
            return self.compare(booking, event);
        }
        let report = BookingReport {
            event,
            booking: booking.clone(),
            requested_ns: sent_ns,
            held_ns: call.answered_ns,
            pay_sent_ns: None,
            confirmed_ns: None,
            voided_ns: None,
            cancel_sent_ns: None,
            cancelled_ns: None,
            request,
        };
        self.bookings.insert(booking.id.clone(), report);
    }

    fn add_other(&mut self, call: &Call, event: u32) {
        if let Some(booking) = &call.booking {
            self.compare(booking, event);
        }
        let Some(about) = &call.about else { return };
        let Some(report) = self.bookings.get_mut(about) else {
            let operation = format!("{:?}", call.operation).to_lowercase();
            self.contradictions
                .push(format!("{operation} of booking {about}, which does not exist"));
            return;
        };
        let earliest =
            |first: &mut Option<u64>, ns: u64| *first = Some(first.map_or(ns, |f| f.min(ns)));
        if let Some(sent_ns) = call.sent_ns {
            match call.operation {
                Operation::Confirm => earliest(&mut report.pay_sent_ns, sent_ns),
                Operation::Cancel => earliest(&mut report.cancel_sent_ns, sent_ns),
                _ => {}
            }
        }
        let status = call.booking.as_ref().map(|booking| booking.status.as_str());
        match (status, call.error.as_deref()) {
            (Some("CONFIRMED"), _) => earliest(&mut report.confirmed_ns, call.answered_ns),
            (Some("VOIDED"), _) | (_, Some("sale_voided")) => {
                earliest(&mut report.voided_ns, call.answered_ns);
            }
            (Some("CANCELLED"), _) => earliest(&mut report.cancelled_ns, call.answered_ns),
            _ => {}
        }
        self.check_stays_confirmed(call, about);
    }

    /// Checks that a CONFIRMED booking stays CONFIRMED unless its buyer cancels.
    fn check_stays_confirmed(&mut self, call: &Call, about: &str) {
        let Some(report) = self.bookings.get(about) else { return };
        let (Some(confirmed), None) = (report.confirmed_ns, report.cancel_sent_ns) else { return };
        let later = call.sent_ns.is_some_and(|sent| sent > confirmed);
        let status = call.booking.as_ref().map(|booking| booking.status.as_str());
        let ended = matches!(call.error.as_deref(), Some("booking_expired" | "sale_voided"));
        if later && (ended || status.is_some_and(|status| status != "CONFIRMED")) {
            let now = status.or(call.error.as_deref()).unwrap_or_default();
            self.contradictions.push(format!("booking {about} was CONFIRMED, and later {now}"));
        }
    }

    fn compare_to_request(&mut self, call: &Call, booking: &BookingState, event: u32) {
        if booking.user != call.user {
            let (id, owner, user) = (&booking.id, &booking.user, &call.user);
            self.contradictions.push(format!("{user} got booking {id} of {owner}"));
        }
        if let Some(other) = booking.event.filter(|other| *other != event) {
            let id = &booking.id;
            self.contradictions
                .push(format!("booking {id} is of event {other}, the request was for {event}"));
        }
        let Some(request) = &call.request else { return };
        let requested = request["seat_ids"].as_array().map(|seats| {
            let mut seats: Vec<u64> = seats.iter().filter_map(|seat| seat.as_u64()).collect();
            seats.sort_unstable();
            seats
        });
        let held: Vec<u64> = booking.seats.iter().map(|seat| u64::from(*seat)).collect();
        let quantity = request["quantity"].as_u64();
        let differs = requested.is_some_and(|requested| requested != held)
            || quantity.is_some_and(|quantity| quantity != held.len() as u64);
        if differs {
            let id = &booking.id;
            self.contradictions
                .push(format!("booking {id} has seats {held:?}, the request was {request}"));
        }
    }

    /// Checks that a booking's event, owner, seats and price are those of its first report.
    fn compare(&mut self, booking: &BookingState, event: u32) {
        let Some(report) = self.bookings.get(&booking.id) else { return };
        let (first, of_first) = (&report.booking, report.event);
        let reported = booking.event.unwrap_or(event);
        if event != of_first || reported != of_first {
            let id = &booking.id;
            self.contradictions.push(format!(
                "booking {id} is of event {of_first}, and a call of event {event} reported it of \
                 event {reported}"
            ));
        }
        let fixed = |state: &BookingState| (state.user.clone(), state.seats.clone(), state.amount);
        if fixed(first) != fixed(booking) {
            let (id, before, after) = (&booking.id, fixed(first), fixed(booking));
            self.contradictions.push(format!("booking {id} was {before:?}, and later {after:?}"));
        }
    }
}

/// Returns how long an event's holds last, ns. An event that is not of the run has no certain span,
/// and calls of it are a contradiction.
pub(super) fn ttl_ns(run: &Run, event: u32) -> u64 {
    let sold = run.events.iter().find(|one| one.event == event);
    sold.map_or(0, |one| one.hold_ttl_ms * 1_000_000)
}
