//! The HTTP response of a seat map: ETag, caching, compression, 304.

use std::convert::Infallible;
use std::sync::Arc;

use actix_http::encoding::Encoder;
use actix_web::body::MessageBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, ContentEncoding, HeaderName, HeaderValue};
use actix_web::web::Bytes;
use actix_web::{HttpResponse, HttpResponseBuilder};

use crate::api::state::RequestContext;
use crate::config::values::Detail;
use crate::gates::Caller;
use crate::http::HandlerResult;
use crate::http::headers::accepts_gzip;
use crate::http::outgoing::{SLICE_BYTES, Slices, With};
use crate::http::problem::Problem;

use super::body::{Content, Representation};
use super::cache::Body;
use super::version::SeatMapVersion;

const GENERATION: HeaderName = HeaderName::from_static("x-seat-map-generation");
const VERSION: HeaderName = HeaderName::from_static("x-seat-map-version");
/// For how many seconds Redis has not answered: the seats may be out of date. Absent otherwise.
const STALE: HeaderName = HeaderName::from_static("x-seat-map-stale");
/// Two numbers and the longest suffix.
const ETAG_BYTES_MAX: usize = 64;
/// Content type of the inventory's raw bytes.
pub const OCTET_STREAM: &str = "application/octet-stream";
/// Responses for admins must not be cached by shared caches.
const PRIVATE: &str = "private, no-cache";

/// How exact a caller's counts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DetailLevel {
    /// Exact counts, or only whether seats are left.
    pub detail: Detail,
    /// Whether the caller sees more than the public.
    pub is_privileged: bool,
}

impl DetailLevel {
    /// The level of `public_availability`; admins who send their key get exact counts.
    ///
    /// # Errors
    /// If the key is wrong and the public gets no exact counts.
    pub fn of_caller(context: &RequestContext, caller: &Caller) -> Result<Self, Problem> {
        let detail = context.state.config.load().public_availability;
        if detail == Detail::Coarse && context.gates().shows_admin_key(&context.head, caller)? {
            return Ok(DetailLevel { detail: Detail::Exact, is_privileged: true });
        }
        Ok(DetailLevel { detail, is_privileged: false })
    }
}

/// The response with a version's content, or 304.
///
/// # Errors
/// If the body could not be encoded.
pub async fn respond(
    context: &RequestContext,
    version: &Arc<SeatMapVersion>,
    content: Content,
    level: DetailLevel,
) -> HandlerResult {
    let (representation, etag) = representation_and_etag(context, version, content, level);
    if is_current(context, &etag) {
        return Ok(not_modified(context, version, &representation, level, &etag));
    }
    match context.state.seat_maps.body(&context.state.sale, version, &representation).await? {
        Body::Whole(bytes) => Ok(whole(context, version, &representation, level, &etag, bytes)),
        Body::Streamed(chunks, charge) => {
            let chunks = futures_util::stream::iter(chunks.map(Ok::<_, Infallible>));
            let response =
                with_content(context, version, &representation, level, &etag).streaming(chunks);
            let response = response.map_body(|_, body| With::new(body, charge).boxed());
            Ok(match representation.gzip {
                true => response.map_body(|head, body| {
                    Encoder::response(ContentEncoding::Gzip, head, body).boxed()
                }),
                false => response,
            })
        }
    }
}

/// The same, if the body exists or is not needed; otherwise `None`.
pub fn respond_if_cached(
    context: &RequestContext,
    version: &SeatMapVersion,
    content: Content,
    level: DetailLevel,
) -> Option<HttpResponse> {
    let (representation, etag) = representation_and_etag(context, version, content, level);
    if is_current(context, &etag) {
        return Some(not_modified(context, version, &representation, level, &etag));
    }
    let bytes = context.state.seat_maps.complete_body(version, &representation)?;
    Some(whole(context, version, &representation, level, &etag, bytes))
}

fn representation_and_etag(
    context: &RequestContext,
    version: &SeatMapVersion,
    content: Content,
    level: DetailLevel,
) -> (Representation, String) {
    let gzip = accepts_gzip(context.http.headers());
    let representation = Representation { content, gzip, detail: level.detail };
    let etag = etag(version.number(), &representation, level);
    (representation, etag)
}

/// Whether the client has the representation with this ETag.
fn is_current(context: &RequestContext, etag: &str) -> bool {
    context.header(&header::IF_NONE_MATCH).is_some_and(|header| contains_etag(header, etag))
}

fn not_modified(
    context: &RequestContext,
    version: &SeatMapVersion,
    representation: &Representation,
    level: DetailLevel,
    etag: &str,
) -> HttpResponse {
    context.state.seat_maps.count_not_modified();
    response_head(context, version, representation, level, etag)
        .status(StatusCode::NOT_MODIFIED)
        .finish()
}

fn whole(
    context: &RequestContext,
    version: &SeatMapVersion,
    representation: &Representation,
    level: DetailLevel,
    etag: &str,
    bytes: Bytes,
) -> HttpResponse {
    let mut response = with_content(context, version, representation, level, etag);
    if representation.gzip {
        response.append_header(ContentEncoding::Gzip);
    }
    match bytes.len() <= SLICE_BYTES {
        true => response.body(bytes),
        false => response.body(Slices::of_shared(bytes)),
    }
}

fn with_content(
    context: &RequestContext,
    version: &SeatMapVersion,
    representation: &Representation,
    level: DetailLevel,
    etag: &str,
) -> HttpResponseBuilder {
    let mut response = response_head(context, version, representation, level, etag);
    let is_raw = representation.content == Content::Bytes;
    response.content_type(if is_raw { OCTET_STREAM } else { "application/json" });
    response
}

fn response_head(
    context: &RequestContext,
    version: &SeatMapVersion,
    representation: &Representation,
    level: DetailLevel,
    etag: &str,
) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    put_headers(&mut response, context, representation, level);
    let (generation, number) = version.number();
    response.append_header((GENERATION, generation));
    response.append_header((VERSION, number));
    if let Some(seconds) = version.stale_seconds() {
        response.append_header((STALE, seconds));
    }
    response.append_header((header::ETAG, etag));
    response
}

fn put_headers(
    response: &mut HttpResponseBuilder,
    context: &RequestContext,
    representation: &Representation,
    level: DetailLevel,
) {
    // One look at the settings for both headers.
    let (max_age, availability) = {
        let config = context.state.config.load();
        (config.seat_map_max_age_seconds, config.public_availability)
    };
    let cache = match (level.is_privileged, max_age) {
        (true, _) => HeaderValue::from_static(PRIVATE),
        (false, 0) => HeaderValue::from_static("no-cache"),
        // The default, as a constant.
        (false, 5) => HeaderValue::from_static("public, max-age=5"),
        // Digits are valid in a header.
        (false, age) => HeaderValue::from_str(&format!("public, max-age={age}"))
            .unwrap_or(HeaderValue::from_static("no-cache")),
    };
    response.append_header((header::CACHE_CONTROL, cache));
    let is_map = representation.content != Content::Availability;
    let by_key = availability == Detail::Coarse;
    let vary = match (is_map, by_key) {
        (true, false) => "Accept, Accept-Encoding",
        (true, true) => "Accept, Accept-Encoding, X-Admin-Key",
        (false, false) => "Accept-Encoding",
        (false, true) => "Accept-Encoding, X-Admin-Key",
    };
    response.append_header((header::VARY, vary));
}

/// The ETag: names the generation, the version and the representation.
fn etag(
    (generation, version): (u64, u64),
    representation: &Representation,
    level: DetailLevel,
) -> String {
    let mut digits = itoa::Buffer::new();
    let mut tag = String::with_capacity(ETAG_BYTES_MAX);
    tag.push('"');
    tag.push_str(digits.format(generation));
    tag.push('-');
    tag.push_str(digits.format(version));
    tag.push_str(if representation.content == Content::Bytes { "-bytes" } else { "" });
    tag.push_str(if representation.gzip { "-gzip" } else { "" });
    tag.push_str(if level.is_privileged { "-exact" } else { "" });
    tag.push('"');
    tag
}

/// Whether an `If-None-Match` header contains this ETag. A proxy may have made it weak.
fn contains_etag(header: &str, etag: &str) -> bool {
    let tag = |text: &str| text.trim().trim_start_matches("W/") == etag;
    header == etag || header.trim() == "*" || header.split(',').any(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: DetailLevel = DetailLevel { detail: Detail::Exact, is_privileged: false };
    const ADMIN: DetailLevel = DetailLevel { detail: Detail::Exact, is_privileged: true };

    fn representation(content: Content, gzip: bool) -> Representation {
        Representation { content, gzip, detail: Detail::Exact }
    }

    #[test]
    fn each_representation_has_its_own_etag() {
        let tag = |content, gzip, level| etag((3, 17), &representation(content, gzip), level);
        assert_eq!(tag(Content::Availability, false, PUBLIC), "\"3-17\"");
        assert_eq!(tag(Content::Availability, true, PUBLIC), "\"3-17-gzip\"");
        assert_eq!(tag(Content::Bytes, false, PUBLIC), "\"3-17-bytes\"");
        assert_eq!(tag(Content::Bytes, true, ADMIN), "\"3-17-bytes-gzip-exact\"");
    }

    #[test]
    fn if_none_match_lists_weak_tags_and_wildcards_are_recognized() {
        assert!(contains_etag("\"1-1\", W/\"3-17\"", "\"3-17\""));
        assert!(contains_etag("*", "\"3-17\""));
        assert!(!contains_etag("\"3-17\"", "\"3-17-gzip\""));
    }
}
