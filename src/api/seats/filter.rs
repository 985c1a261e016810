//! Which seats of a map a client wants to see.

use std::cmp::Ordering;

use crate::domain::seat::SEAT_STATES;
use crate::domain::{Layout, SeatId, SeatState};
use crate::http::params::Query;
use crate::http::problem::Problem;

/// What the query asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The first seat and the number of seats.
    pub range: (SeatId, u32),
    /// Only seats in this state.
    pub status: Option<SeatState>,
    since: Option<Version>,
}

/// What a client has, compared with what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Has {
    /// Nothing that could be gone on from.
    Nothing,
    /// This older version of the same generation.
    Older(u64),
    /// The newest.
    Newest,
    /// A newer one: of another process, or of before a loss.
    Newer,
}

/// What tags say beside the version: clients may send a tag as it is.
const TAG_SUFFIXES: [&str; 3] = ["-exact", "-gzip", "-bytes"];

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

    /// What the client has of an event that is at this generation and version.
    pub fn has(&self, generation: u64, version: u64) -> Has {
        match self.since {
            Some(since) if since.generation.is_none_or(|of| of == generation) => {
                match since.version.cmp(&version) {
                    Ordering::Less => Has::Older(since.version),
                    Ordering::Equal => Has::Newest,
                    Ordering::Greater => Has::Newer,
                }
            }
            _ => Has::Nothing,
        }
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
    SeatState::parse(word).ok_or_else(|| {
        let words: Vec<&str> = SEAT_STATES.iter().map(|row| row.1).collect();
        Problem::parameter("status", format_args!("must be one of {}", words.join(", ")))
    })
}

fn parse_since(sent: &str) -> Result<Version, Problem> {
    let bare = |text, suffix| str::strip_suffix(text, suffix).unwrap_or(text);
    let text = TAG_SUFFIXES.into_iter().fold(sent.trim_matches('"'), bare);
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
    fn a_client_says_what_it_has() {
        let cases = [
            ("17", Has::Newest),
            ("3-17", Has::Newest),
            ("\"3-17-gzip\"", Has::Newest),
            ("3-17-bytes-gzip", Has::Newest),
            ("3-16-gzip-exact", Has::Older(16)),
            ("2-17", Has::Nothing),
            ("4-1", Has::Nothing),
            ("16", Has::Older(16)),
            ("3-0", Has::Older(0)),
            ("18", Has::Newer),
        ];
        for (since, has) in cases {
            assert_eq!(filter(&[("since", since)]).unwrap().has(3, 17), has, "{since}");
        }
        assert_eq!(filter(&[]).unwrap().has(3, 17), Has::Nothing);
        for bad in ["", "x", "-1", "3-", "3-17-1", "3-17-zip", "-gzip"] {
            assert!(filter(&[("since", bad)]).is_err(), "{bad}");
        }
    }
}
