//! Parameters of the path and the query, with messages that say which is wrong.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use actix_web::HttpRequest;
use actix_web::web::Query as Pairs;

use crate::domain::{BookingId, EventId};

use super::problem::{Code, Problem, event_unknown};

/// Items of a page where the caller does not say.
const PAGE_SIZE_DEFAULT: u32 = 20;
/// Most items of a page.
pub const PAGE_SIZE_MAX: u32 = 100;
/// Last page that can be asked for; bounds what the archive has to skip.
pub const PAGE_MAX: u32 = 10_000;

/// The event in the path.
pub fn event_id(request: &HttpRequest) -> Result<EventId, Problem> {
    let text = segment(request, "event_id");
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(id) if digits && id > 0 => Ok(EventId(id)),
        // A whole number that no event can have: an unknown event like any other.
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

/// Characters of a wrong value that a message repeats.
const SHOWN_CHARS_MAX: usize = 40;

fn shorten(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

/// The query's parameters, decoded. Unknown ones are ignored, as clients' own are common.
#[derive(Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the query of a request.
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

    /// A parameter; refused if it stands there twice with different values.
    pub fn get(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.0.iter().filter(|pair| pair.0 == name).map(|pair| pair.1.as_str());
        let first = values.next();
        if values.any(|value| Some(value) != first) {
            return Err(Problem::parameter(name, "stands there twice; send it once"));
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

    /// `page` (from 1) and `page_size`.
    pub fn page(&self) -> Result<(u32, u32), Problem> {
        let page = self.integer("page", 1..=PAGE_MAX)?.unwrap_or(1);
        let size = self.integer("page_size", 1..=PAGE_SIZE_MAX)?.unwrap_or(PAGE_SIZE_DEFAULT);
        Ok((page, size))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn request(name: &'static str, value: &str) -> HttpRequest {
        TestRequest::default().param(name, value.to_owned()).to_http_request()
    }

    #[test]
    fn event_ids_are_numbers_and_the_impossible_ones_unknown() {
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
    fn booking_ids_are_ours() {
        let id = BookingId::new(EventId(7), 1, 2);
        assert_eq!(booking_id(&request("booking_id", &id.to_string())).unwrap(), id);
        let problem = booking_id(&request("booking_id", "x")).unwrap_err();
        assert_eq!(problem.code, Code::InvalidParameter);
    }

    #[test]
    fn queries_are_decoded_and_checked() {
        let query = Query::parse("a=b%20c&n=7&n=7&m=1&m=2&page=3").unwrap();
        assert_eq!(query.get("a").unwrap(), Some("b c"));
        assert_eq!(query.integer("n", 1..=9).unwrap(), Some(7));
        assert!(query.get("m").unwrap_err().detail.contains("twice"));
        assert!(query.integer("a", 1..=9).unwrap_err().detail.contains("from 1 to 9"));
        assert_eq!(query.page().unwrap(), (3, PAGE_SIZE_DEFAULT));
        assert_eq!(Query::parse("").unwrap().page().unwrap(), (1, PAGE_SIZE_DEFAULT));
        assert!(Query::parse("page_size=101").unwrap().page().is_err());
    }
}
