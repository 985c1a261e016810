//! A frame as an HTTP answer: tag, caching, compression, 304.

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

use super::frame::{Form, Frame, What};
use super::frames::Body;

const GENERATION: HeaderName = HeaderName::from_static("x-seat-map-generation");
const VERSION: HeaderName = HeaderName::from_static("x-seat-map-version");
/// Two numbers, and what may follow them.
const ETAG_BYTES_MAX: usize = 64;
/// Content type of the inventory's raw bytes.
pub const OCTET_STREAM: &str = "application/octet-stream";
/// Answers that differ for admins are kept by nobody else.
const OWN: &str = "private, no-cache";

/// What a caller is told of how much is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Numbers or words.
    pub detail: Detail,
    /// Whether others are told less.
    pub is_privileged: bool,
}

impl Told {
    /// Numbers, or what the settings say; admins who show their key are told numbers.
    ///
    /// # Errors
    /// If the key is wrong, where it would matter.
    pub fn to(context: &RequestContext, caller: &Caller) -> Result<Self, Problem> {
        let detail = context.state.config.public_availability;
        if detail == Detail::Coarse && context.gates().shows_admin_key(&context.head, caller)? {
            return Ok(Told { detail: Detail::Exact, is_privileged: true });
        }
        Ok(Told { detail, is_privileged: false })
    }
}

/// Answers with a form of a frame, or that the caller has it.
///
/// # Errors
/// If it could not be rendered.
pub async fn answer(
    context: &RequestContext,
    frame: &Arc<Frame>,
    what: What,
    told: Told,
) -> HandlerResult {
    let (form, etag) = form_and_tag(context, frame, what, told);
    if has(context, &etag) {
        return Ok(not_modified(context, frame, &form, told, &etag));
    }
    match context.state.frames.body(&context.state.sale, frame, &form).await? {
        Body::Whole(bytes) => Ok(whole(context, frame, &form, told, &etag, bytes)),
        Body::Streamed(pieces, charge) => {
            let pieces = futures_util::stream::iter(pieces.map(Ok::<_, Infallible>));
            let answer = with_content(context, frame, &form, told, &etag).streaming(pieces);
            let answer = answer.map_body(|_, body| With::new(body, charge).boxed());
            Ok(match form.gzip {
                true => answer.map_body(|head, body| {
                    Encoder::response(ContentEncoding::Gzip, head, body).boxed()
                }),
                false => answer,
            })
        }
    }
}

/// The same, if the body is there or not needed; else `None`.
pub fn answer_at_hand(
    context: &RequestContext,
    frame: &Frame,
    what: What,
    told: Told,
) -> Option<HttpResponse> {
    let (form, etag) = form_and_tag(context, frame, what, told);
    if has(context, &etag) {
        return Some(not_modified(context, frame, &form, told, &etag));
    }
    let bytes = context.state.frames.body_at_hand(frame, &form)?;
    Some(whole(context, frame, &form, told, &etag, bytes))
}

fn form_and_tag(context: &RequestContext, frame: &Frame, what: What, told: Told) -> (Form, String) {
    let gzip = accepts_gzip(context.http.headers());
    let form = Form { what, gzip, detail: told.detail };
    let etag = etag(frame.mark(), &form, told);
    (form, etag)
}

/// Whether the client has it.
fn has(context: &RequestContext, etag: &str) -> bool {
    context.header(header::IF_NONE_MATCH.as_str()).is_some_and(|known| names(known, etag))
}

fn not_modified(
    context: &RequestContext,
    frame: &Frame,
    form: &Form,
    told: Told,
    etag: &str,
) -> HttpResponse {
    context.state.frames.note_not_modified();
    head(context, frame, form, told, etag).status(StatusCode::NOT_MODIFIED).finish()
}

fn whole(
    context: &RequestContext,
    frame: &Frame,
    form: &Form,
    told: Told,
    etag: &str,
    bytes: Bytes,
) -> HttpResponse {
    let mut answer = with_content(context, frame, form, told, etag);
    if form.gzip {
        answer.insert_header(ContentEncoding::Gzip);
    }
    match bytes.len() <= SLICE_BYTES {
        true => answer.body(bytes),
        false => answer.body(Slices::of_shared(bytes)),
    }
}

fn with_content(
    context: &RequestContext,
    frame: &Frame,
    form: &Form,
    told: Told,
    etag: &str,
) -> HttpResponseBuilder {
    let mut answer = head(context, frame, form, told, etag);
    let is_raw = form.what == What::Bytes;
    answer.content_type(if is_raw { OCTET_STREAM } else { "application/json" });
    answer
}

fn head(
    context: &RequestContext,
    frame: &Frame,
    form: &Form,
    told: Told,
    etag: &str,
) -> HttpResponseBuilder {
    let mut answer = HttpResponse::Ok();
    put_headers(&mut answer, context, form, told);
    let (generation, version) = frame.mark();
    answer.insert_header((GENERATION, generation));
    answer.insert_header((VERSION, version));
    answer.insert_header((header::ETAG, etag));
    answer
}

fn put_headers(
    answer: &mut HttpResponseBuilder,
    context: &RequestContext,
    form: &Form,
    told: Told,
) {
    let max_age = context.state.config.seat_map_max_age_seconds;
    let cache = match (told.is_privileged, max_age) {
        (true, _) => HeaderValue::from_static(OWN),
        (false, 0) => HeaderValue::from_static("no-cache"),
        // As it is shipped: written here, it costs nothing.
        (false, 5) => HeaderValue::from_static("public, max-age=5"),
        // Digits are header text.
        (false, age) => HeaderValue::from_str(&format!("public, max-age={age}"))
            .unwrap_or(HeaderValue::from_static("no-cache")),
    };
    answer.insert_header((header::CACHE_CONTROL, cache));
    let is_map = form.what != What::Availability;
    let by_key = context.state.config.public_availability == Detail::Coarse;
    let vary = match (is_map, by_key) {
        (true, false) => "Accept, Accept-Encoding",
        (true, true) => "Accept, Accept-Encoding, X-Admin-Key",
        (false, false) => "Accept-Encoding",
        (false, true) => "Accept-Encoding, X-Admin-Key",
    };
    answer.insert_header((header::VARY, vary));
}

/// The tag: a later generation or version is another map, and so is another representation.
fn etag((generation, version): (u64, u64), form: &Form, told: Told) -> String {
    let mut digits = itoa::Buffer::new();
    let mut tag = String::with_capacity(ETAG_BYTES_MAX);
    tag.push('"');
    tag.push_str(digits.format(generation));
    tag.push('-');
    tag.push_str(digits.format(version));
    tag.push_str(if form.what == What::Bytes { "-bytes" } else { "" });
    tag.push_str(if form.gzip { "-gzip" } else { "" });
    tag.push_str(if told.is_privileged { "-exact" } else { "" });
    tag.push('"');
    tag
}

/// Whether an `If-None-Match` header names this tag. A tag made weak on its way still counts.
fn names(header: &str, etag: &str) -> bool {
    let tag = |text: &str| text.trim().trim_start_matches("W/") == etag;
    header.trim() == "*" || header.split(',').any(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: Told = Told { detail: Detail::Exact, is_privileged: false };
    const ADMIN: Told = Told { detail: Detail::Exact, is_privileged: true };

    fn form(what: What, gzip: bool) -> Form {
        Form { what, gzip, detail: Detail::Exact }
    }

    #[test]
    fn each_representation_has_its_tag() {
        let tag = |what, gzip, told| etag((3, 17), &form(what, gzip), told);
        assert_eq!(tag(What::Availability, false, PUBLIC), "\"3-17\"");
        assert_eq!(tag(What::Availability, true, PUBLIC), "\"3-17-gzip\"");
        assert_eq!(tag(What::Bytes, false, PUBLIC), "\"3-17-bytes\"");
        assert_eq!(tag(What::Bytes, true, ADMIN), "\"3-17-bytes-gzip-exact\"");
    }

    #[test]
    fn tags_are_found_in_headers() {
        assert!(names("\"1-1\", W/\"3-17\"", "\"3-17\""));
        assert!(names("*", "\"3-17\""));
        assert!(!names("\"3-17\"", "\"3-17-gzip\""));
    }
}
