//! Which seats a representation contains.

use crate::domain::SeatId;
use crate::sale::Sale;

use super::body::{Content, Representation};
use super::json::SeatSelection;
use super::version::SeatMapVersion;

/// The representation under which a selection is cached: a list of changes that contains the whole
/// range is the map.
pub fn effective(
    representation: &Representation,
    selection: &Option<SeatSelection>,
) -> Representation {
    match (&representation.content, selection) {
        (Content::Changes(..), Some(SeatSelection::Range(first, count, status))) => {
            let content = Content::Map(*first, *count, *status);
            Representation { content, ..representation.clone() }
        }
        _ => representation.clone(),
    }
}

/// The seats of a representation that do not depend on the live view.
pub fn fixed_selection(representation: &Representation) -> Option<SeatSelection> {
    match representation.content {
        Content::Map(first, count, status) => Some(SeatSelection::Range(first, count, status)),
        Content::Unchanged => Some(SeatSelection::Changed(Vec::new())),
        Content::Changes(..) | Content::Bytes | Content::Availability => None,
    }
}

/// The seats of a representation; the whole range if the changes are unknown.
pub fn selection(
    sale: &Sale,
    version: &SeatMapVersion,
    representation: &Representation,
) -> Option<SeatSelection> {
    match representation.content {
        Content::Changes(since, first, count) => {
            let changed = changed_since(sale, version, since);
            let range = first.0..first.0 + count;
            Some(match changed {
                Some(mut seats) => {
                    seats.retain(|seat| range.contains(&seat.0));
                    SeatSelection::Changed(seats)
                }
                None => SeatSelection::Range(first, count, None),
            })
        }
        _ => fixed_selection(representation),
    }
}

/// The seats that changed between an earlier version and this one, and perhaps some that changed
/// later: those are rendered with this version's state, so they are correct, too.
fn changed_since(sale: &Sale, version: &SeatMapVersion, since: u64) -> Option<Vec<SeatId>> {
    let (generation, number) = version.number();
    let view = sale.live().slot(version.seats.map.event.id).view()?;
    let changes = view.changes_since(since).filter(|_| view.generation() == generation)?;
    (changes.version >= number).then(|| changes.seats.into_iter().map(|seat| seat.0).collect())
}
