//! Parameters of the path and the query. A refusal names the parameter and what it should be.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use actix_web::HttpRequest;
use actix_web::web::Query as Pairs;

use crate::domain::time::parse_iso8601;
use crate::domain::{BookingId, EventId};

use super::problem::{Code, Problem};

/// Default items of a page.
const PAGE_SIZE_DEFAULT: u32 = 20;
/// Most items of a page.
pub const PAGE_SIZE_MAX: u32 = 100;
/// Last page that can be requested; bounds what the archive has to skip.
pub const PAGE_MAX: u32 = 10_000;

/// The event in the path.
pub fn event_id(request: &HttpRequest) -> Result<EventId, Problem> {
    let text = segment(request, "event_id");
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(id) if digits && id > 0 => Ok(EventId(id)),
        // A number outside the range of event ids is an unknown event like any other.
        _ if digits => Err(event_unknown(shorten(&text))),
        _ => {
            let expected = format!("must be an event's number; got {:?}", shorten(&text));
            Err(Problem::parameter("event_id", expected))
        }
    }
}

/// The booking in the path.
pub fn booking_id(request: &HttpRequest) -> Result<BookingId, Problem> {
    let text = segment(request, "booking_id");
    text.parse().map_err(|_| {
        let expected = format!(
            "must be the `id` of a booking, as it was returned when it was made; got {:?}",
            shorten(&text)
        );
        Problem::parameter("booking_id", expected)
    })
}

fn segment(request: &HttpRequest, name: &str) -> Cow<'static, str> {
    // The route's pattern has this segment, or it would not have matched.
    request.match_info().get(name).unwrap_or_default().to_owned().into()
}

/// Characters of a wrong value that a refusal repeats.
const SHOWN_CHARS_MAX: usize = 40;

fn shorten(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

/// The parameter of every route that names the user.
pub const USER_PARAMETER: &str = "user_id";

/// Refuses a query with a parameter other than these and [`USER_PARAMETER`]: a misspelt one would be
/// ignored silently.
pub fn check_names(request: &HttpRequest, known: &[String]) -> Result<(), Problem> {
    let text = request.query_string();
    let is_known = |name: &str| name == USER_PARAMETER || known.iter().any(|one| one == name);
    // Names are compared undecoded first: hardly any client encodes them.
    let names = text.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    if names.into_iter().all(|name| name.is_empty() || is_known(name)) {
        return Ok(());
    }
    let query = Query::parse(text)?;
    let Some((unknown, _)) = query.0.iter().find(|pair| !is_known(&pair.0)) else { return Ok(()) };
    let names: Vec<&str> = known.iter().map(String::as_str).chain([USER_PARAMETER]).collect();
    let names = names.join(", ");
    let expected = format!("is not a parameter of this route; there are {names}");
    Err(Problem::parameter(&shorten(unknown), expected))
}

/// The part of a list that is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging<P> {
    /// Its start.
    pub start: Start<P>,
    /// Its size, at most.
    pub size: u32,
}

/// The start of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start<P> {
    /// The page of this number, from 1.
    Page(u32),
    /// After this position: `cursor`.
    After(P),
}

impl<P> Paging<P> {
    /// The number of the page, if it is requested by number.
    pub fn page(&self) -> Option<u32> {
        match self.start {
            Start::Page(page) => Some(page),
            Start::After(_) => None,
        }
    }

    /// How many items precede the page of this number.
    pub fn skipped(&self, page: u32) -> u64 {
        u64::from(page.saturating_sub(1)) * u64::from(self.size)
    }
}

/// The decoded parameters of a query; [`check_names`] has refused unknown ones.
#[derive(Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Parses the query of a request.
    pub fn of(request: &HttpRequest) -> Result<Self, Problem> {
        Self::parse(request.query_string())
    }

    fn parse(text: &str) -> Result<Self, Problem> {
        if text.is_empty() {
            return Ok(Query::default());
        }
        let pairs = Pairs::<Vec<(String, String)>>::from_query(text).map_err(|error| {
            let detail = format!("The query cannot be read: {error}");
            Problem::new(Code::InvalidParameter, detail)
        })?;
        Ok(Query(pairs.into_inner()))
    }

    /// A query with these parameters.
    #[cfg(test)]
    pub fn from_pairs(pairs: Vec<(String, String)>) -> Self {
        Query(pairs)
    }

    /// A parameter; refused if it is present twice with different values.
    pub fn get(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.0.iter().filter(|pair| pair.0 == name).map(|pair| pair.1.as_str());
        let first = values.next();
        if values.any(|value| Some(value) != first) {
            return Err(Problem::parameter(name, "is present twice; send it once"));
        }
        Ok(first)
    }

    /// A whole number within a range.
    pub fn integer(&self, name: &str, range: RangeInclusive<u32>) -> Result<Option<u32>, Problem> {
        let Some(text) = self.get(name)? else { return Ok(None) };
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.map(Some).ok_or_else(|| {
            let (min, max, got) = (range.start(), range.end(), shorten(text));
            let expected = format!("must be a whole number from {min} to {max}; got {got:?}");
            Problem::parameter(name, expected)
        })
    }

    /// `cursor` or `page` (from 1), and `page_size`; `parse` parses a cursor of the list.
    pub fn paging<P>(&self, parse: impl Fn(&str) -> Option<P>) -> Result<Paging<P>, Problem> {
        let size = self.integer("page_size", 1..=PAGE_SIZE_MAX)?.unwrap_or(PAGE_SIZE_DEFAULT);
        let page = self.integer("page", 1..=PAGE_MAX)?;
        let start = match (self.cursor(parse)?, page) {
            (None, page) => Start::Page(page.unwrap_or(1)),
            (Some(position), None) => Start::After(position),
            (Some(_), Some(_)) => {
                return Err(Problem::parameter("page", "or `cursor`: send one of them"));
            }
        };
        Ok(Paging { start, size })
    }

    /// `cursor`, parsed by `parse`.
    pub fn cursor<P>(&self, parse: impl Fn(&str) -> Option<P>) -> Result<Option<P>, Problem> {
        let Some(text) = self.get("cursor")? else { return Ok(None) };
        parse(text).map(Some).ok_or_else(|| {
            Problem::parameter(
                "cursor",
                "must be the `next_cursor` of a page of this list, as it is",
            )
        })
    }

    /// `page_size`, if present.
    pub fn page_size(&self, max: u32) -> Result<Option<u32>, Problem> {
        self.integer("page_size", 1..=max)
    }

    /// A time with its offset from UTC.
    pub fn time(&self, name: &str) -> Result<Option<i64>, Problem> {
        let Some(text) = self.get(name)? else { return Ok(None) };
        // In a query a plus sign is a space, unless it is encoded.
        let time = parse_iso8601(text).or_else(|| parse_iso8601(&text.replace(' ', "+")));
        time.map(Some).ok_or_else(|| {
            let got = shorten(text);
            let expected = "must be a time with its offset such as 2026-03-01T18:00:00Z";
            Problem::parameter(name, format!("{expected}; got {got:?}"))
        })
    }
}

/// The refusal of an unknown event. The id is shown as sent, as it may not fit an event id.
pub fn event_unknown(event: impl std::fmt::Display) -> Problem {
    Problem::new(
        Code::EventUnknown,
        format!("There is no event {event}; GET /api/v1/events lists all"),
    )
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn request(name: &'static str, value: &str) -> HttpRequest {
        TestRequest::default().param(name, value.to_owned()).to_http_request()
    }

    #[test]
    fn event_id_out_of_range_is_unknown_and_other_text_invalid() {
        assert_eq!(event_id(&request("event_id", "7")).unwrap(), EventId(7));
        for text in ["0", "4294967296", "99999999999999999999999"] {
            assert_eq!(event_id(&request("event_id", text)).unwrap_err().code, Code::EventUnknown);
        }
        for text in ["", "-1", "+1", "1.5", "x", "1e3", "٣"] {
            let problem = event_id(&request("event_id", text)).unwrap_err();
            assert_eq!(problem.code, Code::InvalidParameter, "{text}");
        }
    }

    #[test]
    fn booking_id_is_parsed_or_refused() {
        let id = BookingId::new(EventId(7), 1, 2);
        assert_eq!(booking_id(&request("booking_id", &id.to_string())).unwrap(), id);
        let problem = booking_id(&request("booking_id", "x")).unwrap_err();
        assert_eq!(problem.code, Code::InvalidParameter);
    }

    #[test]
    fn query_is_decoded_and_checked() {
        let query = Query::parse("a=b%20c&n=7&n=7&m=1&m=2&page=3").unwrap();
        assert_eq!(query.get("a").unwrap(), Some("b c"));
        assert_eq!(query.integer("n", 1..=9).unwrap(), Some(7));
        assert!(query.get("m").unwrap_err().detail.contains("twice"));
        assert!(query.integer("a", 1..=9).unwrap_err().detail.contains("from 1 to 9"));
        assert!(query.time("a").is_err());
        let times = Query::parse("t=2026-03-01T19:00:00+01:00&u=2026-03-01T18:00:00Z").unwrap();
        assert_eq!(times.time("t").unwrap(), Some(1_772_388_000_000));
        assert_eq!(times.time("t").unwrap(), times.time("u").unwrap());
    }

    #[test]
    fn page_is_requested_by_number_or_cursor() {
        let paging = |query: &str| {
            let read = |text: &str| text.parse::<u32>().ok();
            Query::parse(query).unwrap().paging(read)
        };
        let size = PAGE_SIZE_DEFAULT;
        assert_eq!(paging("").unwrap(), Paging { start: Start::Page(1), size });
        assert_eq!(paging("page=3").unwrap(), Paging { start: Start::Page(3), size });
        let after = Paging { start: Start::After(7), size: 5 };
        assert_eq!(paging("cursor=7&page_size=5").unwrap(), after);
        assert_eq!((after.page(), after.skipped(3)), (None, 10));
        for bad in ["page_size=101", "page=0", "cursor=x", "cursor=", "cursor=7&page=1"] {
            assert!(paging(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn unknown_parameter_is_refused_in_any_encoding() {
        let known = ["page".to_owned(), "page_size".to_owned()];
        let check = |query: &str| {
            let request = TestRequest::with_uri(&format!("/x?{query}")).to_http_request();
            check_names(&request, &known)
        };
        for query in ["", "&", "page=1", "page_size=2&user_id=ann", "p%61ge=1", "page"] {
            assert!(check(query).is_ok(), "{query}");
        }
        for query in ["pagesize=2", "page=1&Page=2", "page%20=1", "=1&x", "%5B=1"] {
            let problem = check(query).unwrap_err();
            assert!(problem.detail.contains("there are page, page_size, user_id"), "{query}");
        }
    }
}
