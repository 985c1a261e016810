//! The pages for people: the list of events at `/`, the buyer's page `/events/{event_id}`, and the
//! operator's `/console`. Their files are built from `web/` and embedded in the program; they load
//! nothing from other sites, and talk to the API like any client. The rate limit of addresses applies.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::body::MessageBody;
use actix_web::http::{StatusCode, header};
use actix_web::web::{Bytes, Payload};
use flate2::Compression;
use flate2::write::GzEncoder;
use include_dir::{Dir, include_dir};
use sha2::{Digest, Sha256};

use super::openapi::{AssetProblems, PageProblems};
use super::state::RequestContext;
use crate::http::HandlerResult;
use crate::http::headers::accepts_gzip;
use crate::http::outgoing::Slices;
use crate::http::problem::{Code, Problem};

static BUILT: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/web/dist");

/// `Cache-Control` of files whose names contain a hash of what is in them.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// `Cache-Control` of pages and of files whose names stay: revalidated each time, by their ETag.
const CHECKED: &str = "no-cache";
/// Bytes of a file's hash in its ETag.
const TAG_BYTES: usize = 8;

/// A file with its headers.
struct WebFile {
    bytes: &'static [u8],
    /// Compressed; `None` where that would not make it smaller.
    gzip: Option<Bytes>,
    content_type: &'static str,
    etag: String,
}

/// All files, by their path below `web/dist`.
static FILES: LazyLock<BTreeMap<String, WebFile>> = LazyLock::new(|| {
    let folders = std::iter::once(&BUILT).chain(BUILT.dirs());
    let files = folders.flat_map(|folder| folder.files());
    files.map(|file| (file.path().display().to_string(), WebFile::new(file))).collect()
});

impl WebFile {
    fn new(file: &'static include_dir::File<'static>) -> Self {
        let bytes = file.contents();
        let hash = Sha256::digest(bytes);
        let tag: String = hash[..TAG_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
        let content_type = match file.path().extension().and_then(|name| name.to_str()) {
            Some("html") => "text/html; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "application/octet-stream",
        };
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        let gzip = gzip.write_all(bytes).and_then(|()| gzip.finish()).ok();
        let gzip = gzip.filter(|gzip| gzip.len() < bytes.len()).map(Bytes::from);
        WebFile { bytes, gzip, content_type, etag: format!("\"{tag}\"") }
    }
}

/// The events
///
/// The list of events; each links to its own page.
#[utoipa::path(
    get, operation_id = "get_front_page", path = "/", tag = "pages",
    responses((status = 200, description = "A page for people", body = String, content_type = "text/html"), PageProblems),
)]
pub async fn index(context: RequestContext, _: Payload) -> HandlerResult {
    respond(&context, "index.html", CHECKED)
}

/// An event's seats, to buy
///
/// The seat map, the waiting room, holds and payments of one event, whatever its state.
#[utoipa::path(
    get, operation_id = "get_event_page", path = "/events/{event_id}", tag = "pages",
    params(("event_id" = String, Path, description = "The event, which the page reads from the API", example = "1")),
    responses((status = 200, description = "A page for people", body = String, content_type = "text/html"), PageProblems),
)]
pub async fn event(context: RequestContext, _: Payload) -> HandlerResult {
    respond(&context, "event.html", CHECKED)
}

/// The operator's console
///
/// Shows the page that asks for an admin key, and everything else by the routes for admins.
#[utoipa::path(
    get, operation_id = "get_console", path = "/console", tag = "pages",
    responses((status = 200, description = "A page for people", body = String, content_type = "text/html"), PageProblems),
)]
pub async fn console(context: RequestContext, _: Payload) -> HandlerResult {
    respond(&context, "console.html", CHECKED)
}

/// A part of the operator's console
///
/// The same page: it reads from its address what it shows.
#[utoipa::path(
    get, operation_id = "get_console_page", path = "/console/{page}", tag = "pages",
    params(("page" = String, Path, description = "Which part, and what it shows", example = "bookings")),
    responses((status = 200, description = "A page for people", body = String, content_type = "text/html"), PageProblems),
)]
pub async fn console_page(context: RequestContext, _: Payload) -> HandlerResult {
    respond(&context, "console.html", CHECKED)
}

/// A script or style of the pages
///
/// Its name has a hash of its content, so that it can be kept for ever.
#[utoipa::path(
    get, operation_id = "get_asset", path = "/assets/{file}", tag = "pages",
    params(("file" = String, Path, description = "The file, as pages name it")),
    responses(
        (status = 200, description = "The file", content((String = "text/javascript"), (String = "text/css"))),
        (status = 304, description = "The client has it"),
        AssetProblems,
    ),
)]
pub async fn asset(context: RequestContext, _: Payload) -> HandlerResult {
    let file = context.http.match_info().get("file").unwrap_or_default();
    respond(&context, &format!("assets/{file}"), FOR_EVER)
}

/// The pages' icon
///
/// A vector graphic.
#[utoipa::path(
    get, operation_id = "get_favicon", path = "/favicon.svg", tag = "pages",
    responses((status = 200, description = "The icon", body = String, content_type = "image/svg+xml"), PageProblems),
)]
pub async fn icon(context: RequestContext, _: Payload) -> HandlerResult {
    respond(&context, "favicon.svg", CHECKED)
}

/// The script that chooses between light and dark before a page is drawn
///
/// It is small, and runs before the rest is loaded.
#[utoipa::path(
    get, operation_id = "get_theme_script", path = "/theme.js", tag = "pages",
    responses((status = 200, description = "The script", body = String, content_type = "text/javascript"), PageProblems),
)]
pub async fn theme(context: RequestContext, _: Payload) -> HandlerResult {
    respond(&context, "theme.js", CHECKED)
}

fn respond(context: &RequestContext, name: &str, cache: &'static str) -> HandlerResult {
    context.gates().pass_address(&context.head)?;
    let file = FILES.get(name).ok_or_else(|| {
        Problem::new(Code::RouteUnknown, "The pages have no such file; reload the page")
    })?;
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, cache));
    response.insert_header((header::VARY, "Accept-Encoding"));
    response.insert_header((header::ETAG, file.etag.as_str()));
    let if_none_match = context.header(&header::IF_NONE_MATCH);
    if if_none_match.is_some_and(|tags| tags.contains(&file.etag)) {
        return Ok(response.status(StatusCode::NOT_MODIFIED).finish());
    }
    response.content_type(file.content_type);
    let bytes = match &file.gzip {
        Some(gzip) if accepts_gzip(context.http.headers()) => {
            response.insert_header((header::CONTENT_ENCODING, "gzip"));
            gzip.clone()
        }
        _ => Bytes::from_static(file.bytes),
    };
    Ok(response.body(Slices::of_shared(bytes).boxed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_name_only_files_that_are_embedded() {
        for page in ["index.html", "event.html", "console.html"] {
            let text = std::str::from_utf8(FILES[page].bytes).unwrap();
            let named = ["src=\"", "href=\""].into_iter().flat_map(|name| text.split(name).skip(1));
            let mut count = 0;
            for address in named.map(|rest| rest.split('"').next().unwrap()) {
                let file = address.strip_prefix('/').expect("a path on this site");
                assert!(FILES.contains_key(file), "{page} names {address}");
                count += 1;
            }
            assert!(count >= 4, "{page}: {count}");
        }
    }
}
