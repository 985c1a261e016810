//! Requests to Stripe, and the meaning of their responses: refused (surely nothing was done), or
//! unknown.
//!
//! Every request ends by its deadline; responses are bounded in bytes, and concurrent requests in
//! number. This module sends nothing twice. The API key appears in no text and no `Debug`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode, Uri};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::https::{self, HttpClient};
use crate::secrets::mask_url;
use crate::telemetry::spans::{Span, SpanKind};
use crate::telemetry::{TraceContext, TraceState};

use super::objects::brief;
use super::{PaymentError, StripeUnusable};

/// The version of the API this module was written for.
const API_VERSION: &str = "2024-06-20";
/// Maximum length of a response, bytes: an intent with its charge has about ten thousand.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Concurrent requests of one process; more wait for a permit, within their deadline.
const IN_FLIGHT_MAX: usize = 256;
/// How long an idle connection is kept: less than Stripe keeps it.
const IDLE_MAX: Duration = Duration::from_secs(30);

const API_VERSION_HEADER: HeaderName = HeaderName::from_static("stripe-version");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("holdfast/", env!("CARGO_PKG_VERSION")));

/// A request under construction.
pub(super) struct ApiRequest {
    method: Method,
    path: String,
    key: Option<String>,
    form: String,
}

impl ApiRequest {
    pub fn get(path: String) -> Self {
        ApiRequest::new(Method::GET, path)
    }

    pub fn post(path: String) -> Self {
        ApiRequest::new(Method::POST, path)
    }

    fn new(method: Method, path: String) -> Self {
        ApiRequest { method, path, key: None, form: String::new() }
    }

    /// Sets the idempotency key: under one key the request is carried out once.
    pub fn key(self, key: String) -> Self {
        ApiRequest { key: Some(key), ..self }
    }

    pub fn field(self, name: &str, value: impl ToString) -> Self {
        let mut form = form_urlencoded::Serializer::new(self.form);
        form.append_pair(name, &value.to_string());
        ApiRequest { form: form.finish(), ..self }
    }
}

/// The response to a request that was carried out.
#[derive(Debug)]
pub(super) struct Reply<T> {
    pub body: T,
    /// Whether this is the saved response to an earlier request with this key.
    pub replayed: bool,
}

/// Why a request was not, or not surely, carried out.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was not sent.
    NotSent(String),
    /// Stripe says that it was not carried out.
    ApiError(ApiError),
    /// It may have been carried out.
    Unknown(String),
    /// The saved response to an earlier request with this key, which has ended; it does not show
    /// whether that one was carried out.
    Ended(String),
}

impl Failure {
    pub fn into_error(self) -> PaymentError {
        match self {
            Failure::NotSent(reason) => PaymentError::NotDone(reason),
            Failure::ApiError(refused) => refused.into_error(),
            Failure::Unknown(reason) | Failure::Ended(reason) => PaymentError::Unknown(reason),
        }
    }
}

/// A 4xx response of Stripe.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    /// Stripe's type of the error.
    pub kind: String,
    code: String,
    param: String,
    message: String,
    /// Whether this is the saved response to an earlier request with this key.
    pub replayed: bool,
}

impl ApiError {
    /// Whether the payment method was refused, finally for this attempt: by the bank, or because only
    /// the method that the buyer named is invalid.
    pub fn is_decline(&self) -> bool {
        let kind = self.kind.as_str();
        kind == "card_error" || kind == "invalid_request_error" && self.param == "payment_method"
    }

    /// Whether the object's state does not allow the request.
    pub fn unexpected_state(&self) -> bool {
        self.code == "payment_intent_unexpected_state"
    }

    /// Whether another request with the same key is being carried out right now.
    pub fn in_flight(&self) -> bool {
        self.status == StatusCode::CONFLICT
    }

    /// Whether it was rejected before processing: nothing is saved under its key.
    pub fn was_not_run(&self) -> bool {
        let door = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS];
        door.contains(&self.status)
    }

    /// Whether the request itself is invalid: repeating it is useless.
    pub fn is_permanent(&self) -> bool {
        self.status == StatusCode::BAD_REQUEST && self.kind == "invalid_request_error"
    }

    /// Stripe's message.
    pub fn into_message(self) -> String {
        self.message
    }

    /// Whether there is no such object.
    pub fn missing(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }

    pub fn into_error(self) -> PaymentError {
        if self.is_decline() {
            PaymentError::Declined(self.message)
        } else if self.in_flight() {
            // The other request with this key may still have any result.
            PaymentError::Unknown(self.to_string())
        } else {
            PaymentError::NotDone(self.to_string())
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ApiError { status, kind, code, message, .. } = self;
        write!(f, "{} {kind} {code}: {message}", status.as_u16())
    }
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorObject,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorObject {
    r#type: String,
    code: Option<String>,
    param: Option<String>,
    message: Option<String>,
}

/// A client for one account.
pub(super) struct Http {
    client: HttpClient,
    base: String,
    /// Its host, for spans.
    host: String,
    authorization: HeaderValue,
    places: Arc<Semaphore>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Http({})", mask_url(&self.base))
    }
}

impl Http {
    pub fn new(url: &str, secret_key: &str, timeout: Duration) -> Result<Self, StripeUnusable> {
        let base = url.trim_end_matches('/').to_owned();
        let parsed = base.parse::<Uri>().ok().filter(|uri| uri.scheme().is_some());
        let Some(host) = parsed.as_ref().and_then(Uri::host).map(str::to_owned) else {
            return Err(StripeUnusable(format!(
                "{} is not the address of a server",
                mask_url(url)
            )));
        };
        let mut authorization = HeaderValue::from_str(&format!("Bearer {secret_key}"))
            .map_err(|_| StripeUnusable("the secret key has invalid characters".to_owned()))?;
        authorization.set_sensitive(true);
        // Below the deadline of the call, to distinguish "never sent" from "no response".
        let bounds = https::Bounds { connect: timeout / 2, idle: IDLE_MAX };
        let client = https::client(bounds)
            .map_err(|error| StripeUnusable(format!("TLS is not possible: {error}")))?;
        let places = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
        Ok(Http { client, base, host, authorization, places })
    }

    /// Sends one request and reads its response, as a span of its own.
    pub async fn send<T: DeserializeOwned>(
        &self,
        call: ApiRequest,
        deadline: Instant,
    ) -> Result<Reply<T>, Failure> {
        let mut span = Span::child("POST", SpanKind::Client);
        if let Some(record) = span.record() {
            record.name = call.method.to_string().into();
            span.set_text("http.request.method", &call.method);
            span.set("server.address", self.host.clone());
            span.set_text("url.full", &format_args!("{}{}", mask_url(&self.base), call.path));
        }
        let sent = self.exchange(call, deadline, &mut span).await;
        match &sent {
            Ok(_) => {}
            Err(Failure::NotSent(_)) => span.fail("not_sent"),
            Err(Failure::ApiError(_)) => span.fail("refused"),
            Err(Failure::Unknown(_) | Failure::Ended(_)) => span.fail("unknown"),
        }
        sent
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        call: ApiRequest,
        deadline: Instant,
        span: &mut Span,
    ) -> Result<Reply<T>, Failure> {
        let request = self.request(call, span.context())?;
        let place = timeout_at(deadline, self.places.acquire()).await;
        // The semaphore is never closed: no permit became free in time.
        let Ok(Ok(_place)) = place else {
            return Err(Failure::NotSent(format!("{IN_FLIGHT_MAX} requests are in progress")));
        };
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| {
                let reason = error_chain(&error);
                match error.is_connect() {
                    true => Failure::NotSent(reason),
                    false => Failure::Unknown(reason),
                }
            })?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| Failure::Unknown(error_chain(&*error)))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        match timeout_at(deadline, exchange).await {
            Ok(response) => {
                let response = response?;
                span.set("http.response.status_code", i64::from(response.status().as_u16()));
                read(&response)
            }
            Err(_) => Err(Failure::Unknown("no response in time".to_owned())),
        }
    }

    /// The request, with the trace that it belongs to: `span`, or what runs it.
    fn request(
        &self,
        call: ApiRequest,
        span: Option<TraceContext>,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::builder()
            .method(call.method)
            .uri(format!("{}{}", self.base, call.path))
            .header(AUTHORIZATION, &self.authorization)
            .header(API_VERSION_HEADER, API_VERSION)
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, FORM);
        if let Some(key) = call.key {
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        if let Some(context) = span.or_else(TraceContext::current) {
            request = request.header(TRACEPARENT, context.traceparent());
        }
        if let Some(state) = TraceState::current() {
            request = request.header(TRACESTATE, state.as_str());
        }
        let request = request.body(Full::new(Bytes::from(call.form)));
        request.map_err(|error| Failure::NotSent(error.to_string()))
    }
}

fn read<T: DeserializeOwned>(response: &Response<Bytes>) -> Result<Reply<T>, Failure> {
    let (status, body) = (response.status(), response.body());
    let replayed = response.headers().get(REPLAYED).is_some_and(|value| value == "true");
    let unknown = |what: &str| Failure::Unknown(format!("{} {what}", status.as_u16()));
    if status.is_success() {
        let body = serde_json::from_slice(body).map_err(|error| unknown(&error.to_string()))?;
        return Ok(Reply { body, replayed });
    }
    if !status.is_client_error() {
        return Err(match unknown("is no answer to rely on") {
            Failure::Unknown(reason) if replayed => Failure::Ended(reason),
            failure => failure,
        });
    }
    let error = match serde_json::from_slice::<ErrorBody>(body) {
        Ok(body) => body.error,
        // Rate limiting happens before anything is done.
        Err(_) if status == StatusCode::TOO_MANY_REQUESTS => ErrorObject::default(),
        Err(_) => return Err(unknown("without an error of Stripe's")),
    };
    Err(Failure::ApiError(ApiError {
        status,
        kind: brief(error.r#type),
        code: brief(error.code.unwrap_or_default()),
        param: brief(error.param.unwrap_or_default()),
        message: brief(error.message.unwrap_or_else(|| super::DECLINED.to_owned())),
        replayed,
    }))
}

/// Formats an error with its causes: the outermost alone says "client error (Connect)".
fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    brief(texts.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Failure {
        let response = Response::builder().status(status);
        let response = response.body(Bytes::from(body.to_owned())).unwrap();
        read::<serde_json::Value>(&response).unwrap_err()
    }

    #[test]
    fn only_a_refusal_of_stripe_is_not_done() {
        let cases = [
            (400, r#"{"error":{"type":"invalid_request_error","code":"x"}}"#, "not_done"),
            (401, r#"{"error":{"message":"Invalid API Key"}}"#, "not_done"),
            (402, r#"{"error":{"type":"card_error","message":"No funds"}}"#, "declined"),
            (
                400,
                r#"{"error":{"type":"invalid_request_error","param":"payment_method"}}"#,
                "declined",
            ),
            (409, r#"{"error":{"type":"idempotency_error"}}"#, "unknown"),
            (429, "slow down", "not_done"),
            (400, "<html>a proxy</html>", "unknown"),
            (302, "", "unknown"),
            (500, r#"{"error":{"type":"api_error"}}"#, "unknown"),
            (200, "not json", "unknown"),
        ];
        for (status, body, expected) in cases {
            let kind = match answer(status, body).into_error() {
                PaymentError::Declined(_) => "declined",
                PaymentError::Impossible(_) => "impossible",
                PaymentError::NotDone(_) => "not_done",
                PaymentError::Unknown(_) => "unknown",
            };
            assert_eq!(kind, expected, "{status} {body}");
        }
    }

    #[test]
    fn key_is_never_shown() {
        let http = Http::new("https://h", "sk_secret", Duration::from_secs(1)).unwrap();
        let request = http.request(ApiRequest::get("/v1".to_owned()), None).unwrap();
        let shown = format!("{http:?} {request:?}");
        assert!(!shown.contains("sk_secret"), "{shown}");
        assert_eq!(request.headers()[AUTHORIZATION], "Bearer sk_secret");
        let error = Http::new("https://h", "sk\n_secret", Duration::from_secs(1)).unwrap_err();
        assert!(!error.to_string().contains("_secret"), "{error}");
    }

    #[test]
    fn address_needs_scheme_and_host() {
        for url in ["", "api.stripe.com", "/v1", "https://"] {
            assert!(Http::new(url, "k", Duration::from_secs(1)).is_err(), "{url}");
        }
    }
}
