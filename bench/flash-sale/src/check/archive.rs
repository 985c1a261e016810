//! A history against the archive: whoever was told CONFIRMED is there, with its seats and its
//! price, and nobody else is.

use std::collections::{HashMap, HashSet};

use holdfast::domain::Outcome;

use super::story::{BookingReport, Stories};

/// A booking in the archive.
#[derive(Clone, Debug)]
pub struct Archived {
    /// Its id.
    pub id: String,
    /// Its owner.
    pub user: String,
    /// Its seats, ascending.
    pub seats: Vec<u32>,
    /// Its price.
    pub amount: i64,
    /// What the archive decided about its sale, if it had to.
    pub outcome: Option<Outcome>,
}

/// What contradicts between a history and the archive's bookings of its event, and, where Redis
/// was asked, the number of seats sold there.
pub fn against_archive(
    stories: &Stories,
    archived: &[Archived],
    sold_in_redis: Option<u64>,
) -> Vec<String> {
    let by_id: HashMap<String, &Archived> =
        archived.iter().map(|one| (one.id.clone(), one)).collect();
    let mut problems = Vec::new();
    let mut ids: Vec<&String> = stories.bookings.keys().collect();
    ids.sort_unstable();
    for id in ids {
        let story = &stories.bookings[id];
        match by_id.get(id) {
            None => {
                problems.push(format!("LOST booking {id} of {}: not archived", story.told.user))
            }
            Some(found) => problems.extend(compare(id, story, found)),
        }
    }
    if stories.run.exclusive {
        problems.extend(strangers(stories, archived));
    }
    let sold = archived.iter().filter(|one| one.outcome == Some(Outcome::Sold));
    let seats: Vec<u32> = sold.flat_map(|one| one.seats.iter().copied()).collect();
    let different: HashSet<u32> = seats.iter().copied().collect();
    if different.len() != seats.len() {
        let twice = seats.len() - different.len();
        problems.push(format!("DOUBLE SALE: {twice} seats have two sold bookings in the archive"));
    }
    if let Some(in_redis) = sold_in_redis
        && in_redis != seats.len() as u64
    {
        let archived = seats.len();
        problems.push(format!("{archived} seats are sold in the archive, {in_redis} in Redis"));
    }
    problems
}

fn compare(id: &str, story: &BookingReport, found: &Archived) -> Vec<String> {
    let mut problems = Vec::new();
    let archived = (&found.user, &found.seats, found.amount);
    let told = (&story.told.user, &story.told.seats, story.told.amount);
    if archived != told {
        let what = format!("is {archived:?} in the archive, its buyer was told {told:?}");
        problems.push(format!("booking {id} {what}"));
    }
    let outcome = found.outcome.map_or("none", Outcome::as_str);
    let wrong = match (story.confirmed_ns, story.cancel_sent_ns, found.outcome) {
        (Some(_), None, Some(Outcome::Sold)) => false,
        (Some(_), Some(_), Some(Outcome::Sold)) => story.cancelled_ns.is_some(),
        (Some(_), Some(_), Some(Outcome::Cancelled)) => false,
        (Some(_), ..) => true,
        // Not told CONFIRMED: sold all the same if a payment's answer was lost or late.
        (None, _, Some(Outcome::Sold)) => {
            story.pay_sent_ns.is_none() || story.voided_ns.is_some() || story.cancelled_ns.is_some()
        }
        (None, ..) => false,
    };
    if wrong {
        let told = told_words(story);
        let user = &story.told.user;
        problems.push(format!("booking {id} of {user}: told {told}, in the archive {outcome}"));
    }
    problems
}

fn told_words(story: &BookingReport) -> &'static str {
    match (story.confirmed_ns, story.cancelled_ns, story.voided_ns) {
        (_, Some(_), _) => "CANCELLED",
        (_, _, Some(_)) => "VOIDED",
        (Some(_), ..) => "CONFIRMED",
        (None, None, None) if story.pay_sent_ns.is_none() => "HOLD, and it never paid",
        (None, None, None) => "HOLD, and it paid",
    }
}

/// Sold bookings that nobody in the history was told of. A hold whose answer was lost may be in
/// the archive; a sale needs a payment, and nobody can pay for what it was not told of.
fn strangers(stories: &Stories, archived: &[Archived]) -> Vec<String> {
    let unknown = archived
        .iter()
        .filter(|one| one.outcome.is_some() && !stories.bookings.contains_key(&one.id));
    let told = |one: &Archived| {
        let (id, user) = (&one.id, &one.user);
        format!("booking {id} of {user} was judged in the archive, and no buyer was told of it")
    };
    unknown.map(told).collect()
}
