//! The bookings of a history, each with what its buyer was told about it.

use std::collections::HashMap;
use std::path::Path;

use super::CLOCK_SLACK_NS;
use crate::Failure;
use crate::history::{Call, Line, Operation, Reader, Run, Told};

/// One booking.
#[derive(Clone, Debug)]
pub struct BookingReport {
    /// What was told first: id, owner, seats and price never change.
    pub told: Told,
    /// When the first request that can have made it was sent, ns.
    pub asked_ns: u64,
    /// When its buyer was first told of it.
    pub held_ns: u64,
    /// When a payment was first sent.
    pub pay_sent_ns: Option<u64>,
    /// When its buyer was first told CONFIRMED.
    pub confirmed_ns: Option<u64>,
    /// When its buyer was first told that the sale is void.
    pub voided_ns: Option<u64>,
    /// When a cancellation was first sent.
    pub cancel_sent_ns: Option<u64>,
    /// When its buyer was first told CANCELLED.
    pub cancelled_ns: Option<u64>,
    /// Which request made it.
    wish: usize,
}

/// A history's bookings.
#[derive(Clone, Debug)]
pub struct Stories {
    /// What was run.
    pub run: Run,
    /// By id.
    pub bookings: HashMap<String, BookingReport>,
    /// Calls in the history.
    pub calls: u64,
    /// What contradicts between single answers.
    pub contradictions: Vec<String>,
    /// The requests for seats: user, key and body. Sent again, a request is the same one.
    wishes: HashMap<(String, Option<String>, String), usize>,
    /// When each was first sent, and which booking answered it.
    asked: Vec<(u64, Option<String>)>,
}

impl Stories {
    /// Reads a history.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let (mut reader, run) = Reader::open(path)?;
        let mut stories = Stories::new(run);
        let mut end = None;
        while let Some(line) = reader.next()? {
            match line {
                Line::Call(call) => stories.add(&call),
                Line::End(told) => end = Some(told),
                Line::Run(_) => return Err("a history has one run".into()),
            }
        }
        stories.finish();
        match end {
            Some(end) if end.calls == stories.calls => Ok(stories),
            Some(end) => {
                let (told, found) = (end.calls, stories.calls);
                Err(format!("the history has {found} calls, and says that it has {told}").into())
            }
            None => Err("the history is cut off: its last line is missing".into()),
        }
    }

    /// None yet.
    pub fn new(run: Run) -> Self {
        Stories {
            run,
            bookings: HashMap::new(),
            calls: 0,
            contradictions: Vec::new(),
            wishes: HashMap::new(),
            asked: Vec::new(),
        }
    }

    /// Adds a call. Calls come in the order of their answers.
    pub fn add(&mut self, call: &Call) {
        self.calls += 1;
        match call.operation {
            Operation::Map => {}
            Operation::Hold => self.add_hold(call),
            Operation::Confirm | Operation::Look | Operation::Cancel => self.add_other(call),
        }
    }

    /// To be called once all are added.
    pub fn finish(&mut self) {
        for story in self.bookings.values_mut() {
            story.asked_ns = self.asked[story.wish].0;
        }
    }

    fn add_hold(&mut self, call: &Call) {
        let Some(sent_ns) = call.sent_ns else { return };
        let body = call.request.as_ref().map(ToString::to_string).unwrap_or_default();
        let name = (call.user.clone(), call.key.clone(), body);
        let wish = *self.wishes.entry(name).or_insert(self.asked.len());
        if wish == self.asked.len() {
            self.asked.push((u64::MAX, None));
        }
        self.asked[wish].0 = self.asked[wish].0.min(sent_ns);
        let Some(told) = &call.booking else { return };
        self.compare_to_request(call, told);
        // Once its booking has ended the same request is a new one.
        let lapses = self.asked[wish].0 + self.run.hold_ttl_ms * 1_000_000;
        let before = self.asked[wish].1.replace(told.id.clone());
        if let (Some(before), Some(key)) = (before, &call.key)
            && before != told.id
            && call.answered_ns + CLOCK_SLACK_NS < lapses
        {
            let ids = format!("{before} and {}", told.id);
            self.contradictions.push(format!("key {key} was answered with bookings {ids}"));
        }
        if self.bookings.contains_key(&told.id) {
            return self.compare(told);
        }
        let story = BookingReport {
            told: told.clone(),
            asked_ns: sent_ns,
            held_ns: call.answered_ns,
            pay_sent_ns: None,
            confirmed_ns: None,
            voided_ns: None,
            cancel_sent_ns: None,
            cancelled_ns: None,
            wish,
        };
        self.bookings.insert(told.id.clone(), story);
    }

    fn add_other(&mut self, call: &Call) {
        if let Some(told) = &call.booking {
            self.compare(told);
        }
        let Some(about) = &call.about else { return };
        let Some(story) = self.bookings.get_mut(about) else {
            let operation = format!("{:?}", call.operation).to_lowercase();
            self.contradictions.push(format!("{operation} of booking {about}, which nobody holds"));
            return;
        };
        let earliest =
            |kept: &mut Option<u64>, ns: u64| *kept = Some(kept.map_or(ns, |k| k.min(ns)));
        if let Some(sent_ns) = call.sent_ns {
            match call.operation {
                Operation::Confirm => earliest(&mut story.pay_sent_ns, sent_ns),
                Operation::Cancel => earliest(&mut story.cancel_sent_ns, sent_ns),
                _ => {}
            }
        }
        let status = call.booking.as_ref().map(|told| told.status.as_str());
        match (status, call.error.as_deref()) {
            (Some("CONFIRMED"), _) => earliest(&mut story.confirmed_ns, call.answered_ns),
            (Some("VOIDED"), _) | (_, Some("sale_voided")) => {
                earliest(&mut story.voided_ns, call.answered_ns);
            }
            (Some("CANCELLED"), _) => earliest(&mut story.cancelled_ns, call.answered_ns),
            _ => {}
        }
        self.changed_its_mind(call, about);
    }

    /// Once CONFIRMED, always CONFIRMED, unless its buyer cancels.
    fn changed_its_mind(&mut self, call: &Call, about: &str) {
        let Some(story) = self.bookings.get(about) else { return };
        let (Some(confirmed), None) = (story.confirmed_ns, story.cancel_sent_ns) else { return };
        let later = call.sent_ns.is_some_and(|sent| sent > confirmed);
        let status = call.booking.as_ref().map(|told| told.status.as_str());
        let ended = matches!(call.error.as_deref(), Some("booking_expired" | "sale_voided"));
        if later && (ended || status.is_some_and(|status| status != "CONFIRMED")) {
            let told = status.or(call.error.as_deref()).unwrap_or_default();
            self.contradictions.push(format!("booking {about} was CONFIRMED, and later {told}"));
        }
    }

    fn compare_to_request(&mut self, call: &Call, told: &Told) {
        if told.user != call.user {
            let (id, owner, user) = (&told.id, &told.user, &call.user);
            self.contradictions.push(format!("{user} was given booking {id} of {owner}"));
        }
        let Some(request) = &call.request else { return };
        let asked = request["seat_ids"].as_array().map(|seats| {
            let mut seats: Vec<u64> = seats.iter().filter_map(|seat| seat.as_u64()).collect();
            seats.sort_unstable();
            seats
        });
        let given: Vec<u64> = told.seats.iter().map(|seat| u64::from(*seat)).collect();
        let quantity = request["quantity"].as_u64();
        let other = asked.is_some_and(|asked| asked != given)
            || quantity.is_some_and(|quantity| quantity != given.len() as u64);
        if other {
            let id = &told.id;
            self.contradictions
                .push(format!("booking {id} has seats {given:?}, and asked was {request}"));
        }
    }

    /// A booking's owner, seats and price never change.
    fn compare(&mut self, told: &Told) {
        let Some(story) = self.bookings.get(&told.id) else { return };
        let first = &story.told;
        let fixed = |told: &Told| (told.user.clone(), told.seats.clone(), told.amount);
        if fixed(first) != fixed(told) {
            let (id, before, after) = (&told.id, fixed(first), fixed(told));
            self.contradictions.push(format!("booking {id} was {before:?}, and later {after:?}"));
        }
    }
}
