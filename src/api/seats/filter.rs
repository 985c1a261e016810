//! Which seats of a map a client wants to see.

use crate::api::params::Query;
use crate::api::problem::Problem;
use crate::domain::seat::SEAT_STATES;
use crate::domain::{Layout, SeatId, SeatState};
use crate::sale::SeatMap;

/// What the query asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The first seat and the number of seats.
    pub range: (SeatId, u32),
    /// Only seats in this state.
    pub status: Option<SeatState>,
    since: Option<Version>,
}

/// A version that a client has; the generation may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    generation: Option<u64>,
    version: u64,
}

impl Filter {
    /// Reads `section`, `status` and `since`.
    pub fn of(query: &Query, layout: &Layout) -> Result<Self, Problem> {
        let range = match query.get("section")? {
            None => (SeatId(1), layout.total_seats()),
            Some(name) => section_range(layout, name)?,
        };
        let status = query.get("status")?.map(parse_status).transpose()?;
        let since = query.get("since")?.map(parse_since).transpose()?;
        Ok(Filter { range, status, since })
    }

    /// Whether the client already has this very map.
    pub fn is_current(&self, map: &SeatMap) -> bool {
        self.since.is_some_and(|since| {
            since.version == map.version
                && since.generation.is_none_or(|generation| generation == map.generation)
        })
    }
}

fn section_range(layout: &Layout, name: &str) -> Result<(SeatId, u32), Problem> {
    let ranges = layout.section_ranges();
    let found = ranges.iter().find(|range| range.0.name == name);
    found.map(|range| (range.1, range.2)).ok_or_else(|| {
        Problem::parameter("section", "is not a section of this event; the event lists them")
    })
}

fn parse_status(word: &str) -> Result<SeatState, Problem> {
    SeatState::from_word(word).ok_or_else(|| {
        let words: Vec<&str> = SEAT_STATES.iter().map(|row| row.1).collect();
        Problem::parameter("status", format_args!("must be one of {}", words.join(", ")))
    })
}

fn parse_since(text: &str) -> Result<Version, Problem> {
    let parsed = match text.split_once('-') {
        None => text.parse().ok().map(|version| Version { generation: None, version }),
        Some((generation, version)) => generation.parse().ok().and_then(|generation| {
            Some(Version { generation: Some(generation), version: version.parse().ok()? })
        }),
    };
    parsed.ok_or_else(|| {
        Problem::parameter("since", "must be a `version`, or `generation-version` as in the ETag")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixtures;

    fn filter(pairs: &[(&str, &str)]) -> Result<Filter, Problem> {
        let pairs = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        Filter::of(&Query::from_pairs(pairs.collect()), &fixtures::event().layout)
    }

    #[test]
    fn sections_and_states_are_found() {
        assert_eq!(filter(&[]).unwrap().range, (SeatId(1), 7));
        let floor = filter(&[("section", "Floor"), ("status", "available")]).unwrap();
        assert_eq!((floor.range, floor.status), ((SeatId(5), 3), Some(SeatState::Available)));
        assert!(filter(&[("section", "Balcony")]).is_err());
        assert!(filter(&[("status", "FREE")]).is_err());
    }

    #[test]
    fn the_current_version_is_known() {
        let map = fixtures::seat_map();
        for (since, current) in [("17", true), ("3-17", true), ("2-17", false), ("16", false)] {
            assert_eq!(filter(&[("since", since)]).unwrap().is_current(&map), current, "{since}");
        }
        assert!(!filter(&[]).unwrap().is_current(&map));
        for bad in ["", "x", "-1", "3-", "3-17-1"] {
            assert!(filter(&[("since", bad)]).is_err(), "{bad}");
        }
    }
}
