//! The query of a seat map: which seats, and since which version.

use std::cmp::Ordering;

use crate::domain::seat::SEAT_STATES;
use crate::domain::{Layout, SeatId, SeatState};
use crate::http::params::Query;
use crate::http::problem::Problem;

/// The parsed query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The first seat and the number of seats.
    pub range: (SeatId, u32),
    /// Only seats in this state.
    pub status: Option<SeatState>,
    since: Option<Since>,
}

/// A client's version, compared with the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientVersion {
    /// None, or one of another generation.
    None,
    /// An older version of the same generation.
    Older(u64),
    /// The newest.
    Newest,
    /// A newer version: from another process, or from before a loss of data.
    Newer,
}

/// Suffixes of ETags: clients may send an ETag as `since`.
const TAG_SUFFIXES: [&str; 3] = ["-exact", "-gzip", "-bytes"];

/// A client's version; the generation is optional.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Since {
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

    /// The client's version, compared with this generation and version.
    pub fn compare(&self, generation: u64, version: u64) -> ClientVersion {
        match self.since {
            Some(since) if since.generation.is_none_or(|of| of == generation) => {
                match since.version.cmp(&version) {
                    Ordering::Less => ClientVersion::Older(since.version),
                    Ordering::Equal => ClientVersion::Newest,
                    Ordering::Greater => ClientVersion::Newer,
                }
            }
            _ => ClientVersion::None,
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

fn parse_status(name: &str) -> Result<SeatState, Problem> {
    SeatState::parse(name).ok_or_else(|| {
        let names: Vec<&str> = SEAT_STATES.iter().map(|row| row.1).collect();
        Problem::parameter("status", format_args!("must be one of {}", names.join(", ")))
    })
}

fn parse_since(text: &str) -> Result<Since, Problem> {
    let bare = |text, suffix| str::strip_suffix(text, suffix).unwrap_or(text);
    let text = TAG_SUFFIXES.into_iter().fold(text.trim_matches('"'), bare);
    let parsed = match text.split_once('-') {
        None => text.parse().ok().map(|version| Since { generation: None, version }),
        Some((generation, version)) => generation.parse().ok().and_then(|generation| {
            Some(Since { generation: Some(generation), version: version.parse().ok()? })
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
    fn section_and_status_are_parsed() {
        assert_eq!(filter(&[]).unwrap().range, (SeatId(1), 7));
        let floor = filter(&[("section", "Floor"), ("status", "available")]).unwrap();
        assert_eq!((floor.range, floor.status), ((SeatId(5), 3), Some(SeatState::Available)));
        assert!(filter(&[("section", "Balcony")]).is_err());
        assert!(filter(&[("status", "FREE")]).is_err());
    }

    #[test]
    fn since_is_compared_with_the_newest_version() {
        let cases = [
            ("17", ClientVersion::Newest),
            ("3-17", ClientVersion::Newest),
            ("\"3-17-gzip\"", ClientVersion::Newest),
            ("3-17-bytes-gzip", ClientVersion::Newest),
            ("3-16-gzip-exact", ClientVersion::Older(16)),
            ("2-17", ClientVersion::None),
            ("4-1", ClientVersion::None),
            ("16", ClientVersion::Older(16)),
            ("3-0", ClientVersion::Older(0)),
            ("18", ClientVersion::Newer),
        ];
        for (since, expected) in cases {
            assert_eq!(filter(&[("since", since)]).unwrap().compare(3, 17), expected, "{since}");
        }
        assert_eq!(filter(&[]).unwrap().compare(3, 17), ClientVersion::None);
        for bad in ["", "x", "-1", "3-", "3-17-1", "3-17-zip", "-gzip"] {
            assert!(filter(&[("since", bad)]).is_err(), "{bad}");
        }
    }
}
