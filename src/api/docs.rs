//! `/docs`: Swagger UI for the API. Its files are embedded in the program and sent without a copy; the
//! rate limit of addresses applies, and `docs_enabled = false` hides them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use actix_web::HttpResponse;
use actix_web::body::MessageBody;
use actix_web::http::{StatusCode, header};
use actix_web::web::{Bytes, Payload};
use sha2::{Digest, Sha256};
use utoipa_swagger_ui::Config as SwaggerConfig;

use super::openapi::DocsProblems;
use super::state::RequestContext;
use crate::http::HandlerResult;
use crate::http::outgoing::Slices;
use crate::http::problem::{Code, Problem};

/// `Cache-Control` of a file.
const CACHE: &str = "public, max-age=3600";
/// Bytes of a file's hash in its ETag.
const TAG_BYTES: usize = 8;

/// Swagger UI loads this server's document and nothing from other sites, so it works offline.
static SWAGGER: LazyLock<Arc<SwaggerConfig<'static>>> = LazyLock::new(|| {
    Arc::new(SwaggerConfig::from("/openapi.json").validator_url("none").deep_linking(true))
});

/// A file with its headers.
#[derive(Clone)]
struct DocFile {
    bytes: Bytes,
    content_type: String,
    is_gzipped: bool,
    etag: String,
}

/// The files that were requested; bounded by the number of embedded files.
static FILES: LazyLock<Mutex<HashMap<String, DocFile>>> = LazyLock::new(Mutex::default);

/// Applies the gates of the documentation.
///
/// # Errors
/// If it is switched off, or the address is above its rate limit.
pub fn enter(context: &RequestContext) -> Result<(), Problem> {
    context.gates().pass_address(&context.head)?;
    if context.state.config.load().docs_enabled {
        return Ok(());
    }
    let detail = "The documentation is switched off here (docs_enabled = false)";
    Err(Problem::new(Code::RouteUnknown, detail))
}

/// This document, to try out
///
/// Redirects to Swagger UI.
#[utoipa::path(
    get, operation_id = "redirect_to_docs", path = "/docs", tag = "operations",
    responses((status = 308, description = "To `/docs/`"), DocsProblems),
)]
pub async fn docs(context: RequestContext, _: Payload) -> HandlerResult {
    enter(&context)?;
    // Swagger UI's files are addressed relative to this folder.
    let location = (header::LOCATION, "/docs/");
    Ok(HttpResponse::PermanentRedirect().insert_header(location).finish())
}

/// A file of the documentation
///
/// Swagger UI, from this server alone.
#[utoipa::path(
    get, operation_id = "get_docs_file", path = "/docs/{file}", tag = "operations",
    params(("file" = String, Path, description = "The file; empty for the page itself", example = "index.html")),
    responses(
        (status = 200, description = "The file", body = String, content_type = "text/html"),
        (status = 304, description = "The client has it"),
        DocsProblems,
    ),
)]
pub async fn docs_file(context: RequestContext, _: Payload) -> HandlerResult {
    enter(&context)?;
    let name = context.http.match_info().get("file").unwrap_or_default();
    let file = file(name)?;
    let if_none_match = context.header(&header::IF_NONE_MATCH);
    let is_cached = if_none_match.is_some_and(|tags| tags.contains(&file.etag));
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, CACHE));
    response.insert_header((header::ETAG, file.etag));
    if is_cached {
        return Ok(response.status(StatusCode::NOT_MODIFIED).finish());
    }
    if file.is_gzipped {
        response.insert_header((header::CONTENT_ENCODING, "gzip"));
    }
    Ok(response.content_type(file.content_type).body(Slices::of_shared(file.bytes).boxed()))
}

/// A file by its name.
fn file(name: &str) -> Result<DocFile, Problem> {
    // No code panics while it is held.
    let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(file) = files.get(name) {
        return Ok(file.clone());
    }
    let found = utoipa_swagger_ui::serve(name, SWAGGER.clone())
        .map_err(|error| Problem::internal(format!("/docs/{name}: {error}")))?;
    let found = found.ok_or_else(|| {
        Problem::new(Code::RouteUnknown, "The documentation has no such file; see /docs/")
    })?;
    let bytes = match found.bytes {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => bytes.into(),
    };
    let hash = Sha256::digest(&bytes);
    let tag: String = hash[..TAG_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
    let file = DocFile {
        bytes,
        content_type: found.content_type,
        is_gzipped: found.gzpipped,
        etag: format!("\"{tag}\""),
    };
    files.insert(name.to_owned(), file.clone());
    Ok(file)
}
