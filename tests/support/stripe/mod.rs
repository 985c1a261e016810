//! A server of Stripe's shapes: payment intents, refunds, idempotency keys as Stripe keeps them,
//! and the ways in which a call can fail before and after it was carried out.

mod refunds;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use refunds::RefundBooks;

/// The key that it takes.
pub const KEY: &str = "sk_test_4242";
/// How long every call takes: long enough that calls sent at once meet.
const WORK: Duration = Duration::from_millis(5);

/// How one call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 429, nothing done.
    TooMany,
    /// 400, nothing done: the amount is too small for the account.
    Refused,
    /// StoreResult out; the answer is 500, now and whenever the key is sent again.
    ErrorAfter,
    /// Nothing done; the answer is 500, now and whenever the key is sent again.
    ErrorBefore,
    /// StoreResult out; no answer ever comes.
    SilentAfter,
    /// StoreResult out; the connection is closed.
    CloseAfter,
    /// StoreResult out; the answer is no JSON.
    GarbageAfter,
}

/// An intent as Stripe has it.
#[derive(Clone, Debug, Default)]
pub struct Intent {
    pub status: &'static str,
    pub amount: i64,
    pub currency: String,
    pub booking: String,
    /// How often money was taken.
    pub charges: u32,
    /// The refunds that have arrived; part of responses, not kept here.
    pub refunded: i64,
    decline: Option<&'static str>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub line: String,
    pub key: Option<String>,
    pub version: String,
    pub traceparent: Option<String>,
    pub tracestate: Option<String>,
    pub form: BTreeMap<String, String>,
}

type Said = (u16, Value);

#[derive(Default)]
struct Books {
    intents: BTreeMap<String, Intent>,
    refunds: RefundBooks,
    /// By idempotency key: what was sent, and the answer once there is one.
    keys: HashMap<String, (String, Option<Said>)>,
    faults: Vec<(&'static str, Fault)>,
    seen: Vec<Seen>,
}

/// The server; gone when dropped.
pub struct StripeServer {
    address: SocketAddr,
    books: Arc<Mutex<Books>>,
    task: JoinHandle<()>,
}

impl Drop for StripeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The settings of a process that uses the server at this address.
pub fn settings(url: &str) -> [(&'static str, &str); 3] {
    [
        ("HOLDFAST_PAYMENT_PROVIDER", "stripe"),
        ("HOLDFAST_STRIPE_URL", url),
        ("HOLDFAST_STRIPE_SECRET_KEY", KEY),
    ]
}

impl StripeServer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let books = Arc::<Mutex<Books>>::default();
        let shared = books.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let books = shared.clone();
                let serve = service_fn(move |request| serve(books.clone(), request));
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), serve);
                // Its end is the client's to notice.
                tokio::spawn(async move { drop(connection.await) });
            }
        });
        StripeServer { address, books, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next request whose path ends so fails like this.
    pub fn fail(&self, path_end: &'static str, fault: Fault) {
        self.books.lock().unwrap().faults.push((path_end, fault));
    }

    pub fn intent(&self, id: &str) -> Option<Intent> {
        let books = self.books.lock().unwrap();
        let refunded = books.refunds.succeeded(id);
        books.intents.get(id).map(|intent| Intent { refunded, ..intent.clone() })
    }

    /// Makes an intent another, behind the client's back.
    pub fn change(&self, id: &str, change: impl FnOnce(&mut Intent)) {
        change(self.books.lock().unwrap().intents.get_mut(id).expect("an intent"));
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.books.lock().unwrap().seen.clone()
    }
}

/// What ends the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the server hangs up")]
struct HangUp;

async fn serve(
    books: Arc<Mutex<Books>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, HangUp> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.expect("a whole request").to_bytes();
    let header = |name| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
    let form: BTreeMap<_, _> = form_urlencoded::parse(&body).into_owned().collect();
    let key = header("idempotency-key");
    let line = format!("{} {path}", head.method);
    let version = header("stripe-version").expect("a pinned version");
    let fault = {
        let mut books = books.lock().unwrap();
        let (line, key, form) = (line.clone(), key.clone(), form.clone());
        let (traceparent, tracestate) = (header("traceparent"), header("tracestate"));
        books.seen.push(Seen { line, key, version, traceparent, tracestate, form });
        let at = books.faults.iter().position(|(end, _)| path.ends_with(end));
        at.map(|at| books.faults.remove(at).1)
    };
    if header("authorization") != Some(format!("Bearer {KEY}")) {
        return Ok(answer(&error(401, "invalid_request_error", "", "Invalid API Key"), false));
    }
    if fault == Some(Fault::TooMany) {
        return Ok(answer(&error(429, "invalid_request_error", "rate_limit", "slow down"), false));
    }
    if fault == Some(Fault::Refused) {
        let text = "Amount must convert to at least 50 cents.";
        return Ok(answer(&error(400, "invalid_request_error", "amount_too_small", text), false));
    }
    let sent = format!("{line} {form:?}");
    if let Some(key) = &key
        && let Some(said) = known(&mut books.lock().unwrap(), key, &sent)
    {
        return Ok(said);
    }
    tokio::time::sleep(WORK).await;
    let failed = error(500, "api_error", "", "something is wrong here");
    let said = match fault {
        Some(Fault::ErrorBefore) => failed,
        _ => {
            let mut books = books.lock().unwrap();
            let said = carry_out(&mut books, &head.method, path, query, &form);
            if fault == Some(Fault::ErrorAfter) { failed } else { said }
        }
    };
    if let Some(key) = key {
        books.lock().unwrap().keys.insert(key, (sent, Some(said.clone())));
    }
    match fault {
        Some(Fault::SilentAfter) => std::future::pending().await,
        Some(Fault::CloseAfter) => Err(HangUp),
        Some(Fault::GarbageAfter) => Ok(Response::new(Full::from("<html>"))),
        _ => Ok(answer(&said, false)),
    }
}

/// What a key that was sent before is answered; a new one is noted as being carried out.
fn known(books: &mut Books, key: &str, sent: &str) -> Option<Response<Full<Bytes>>> {
    let Some((before, said)) = books.keys.get(key) else {
        books.keys.insert(key.to_owned(), (sent.to_owned(), None));
        return None;
    };
    let refused = |status, text| answer(&error(status, "idempotency_error", "", text), false);
    Some(match said {
        None => refused(409, "another request with this key is in progress"),
        Some(_) if before != sent => refused(400, "this key was sent with other parameters"),
        Some(said) => answer(said, true),
    })
}

fn answer(said: &Said, replayed: bool) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(said.0);
    if replayed {
        response = response.header("Idempotent-Replayed", "true");
    }
    response.body(Full::from(said.1.to_string())).unwrap()
}

fn error(status: u16, kind: &str, code: &str, message: &str) -> Said {
    (status, json!({ "error": { "type": kind, "code": code, "message": message } }))
}

fn carry_out(
    books: &mut Books,
    method: &Method,
    path: &str,
    query: &str,
    form: &BTreeMap<String, String>,
) -> Said {
    let parts: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
    let field = |name: &str| form.get(name).cloned().unwrap_or_default();
    let next = books.intents.len() + 1;
    match (method.as_str(), parts.as_slice()) {
        ("POST", ["payment_intents"]) => {
            assert_eq!(field("confirm"), "false");
            let intent = Intent {
                status: "requires_payment_method",
                amount: field("amount").parse().unwrap(),
                currency: field("currency"),
                booking: field("metadata[booking_id]"),
                ..Intent::default()
            };
            let id = format!("pi_{next}");
            let shown = shown(&id, &intent, None);
            books.intents.insert(id, intent);
            (200, shown)
        }
        ("POST", ["refunds"]) => {
            let intent = books.intents.get(&field("payment_intent")).expect("an intent");
            books.refunds.create(intent, form)
        }
        ("GET", ["refunds"]) => {
            let query: BTreeMap<_, _> =
                form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            let limit = query.get("limit").map(|limit| limit.parse().unwrap());
            (200, books.refunds.list(&query["payment_intent"], limit))
        }
        (method, ["payment_intents", id, rest @ ..]) => {
            let Some(intent) = books.intents.get_mut(*id) else {
                return error(404, "invalid_request_error", "resource_missing", "no such intent");
            };
            let refusal = match (method, rest) {
                ("GET", []) => None,
                ("POST", ["confirm"]) => confirm(intent, &field("payment_method")),
                ("POST", ["cancel"]) => cancel(intent),
                other => panic!("{other:?}"),
            };
            let expanded = query == "expand%5B%5D=latest_charge.refunds";
            let refunds = expanded.then_some((&books.refunds, *id));
            refusal.unwrap_or_else(|| (200, shown(id, intent, refunds)))
        }
        other => panic!("{other:?}"),
    }
}

fn unexpected(intent: &Intent) -> Option<Said> {
    let text = format!("its status is {}", intent.status);
    Some(error(400, "invalid_request_error", "payment_intent_unexpected_state", &text))
}

fn confirm(intent: &mut Intent, payment_method: &str) -> Option<Said> {
    if intent.status != "requires_payment_method" {
        return unexpected(intent);
    }
    let mut declined = |code, text| {
        intent.decline = Some(text);
        Some(error(402, "card_error", code, text))
    };
    match payment_method {
        "card_declined" => declined("card_declined", "Your card was declined."),
        "card_3ds" => declined("authentication_required", "This card needs authentication."),
        "card_unknown" => {
            let mut said = error(400, "invalid_request_error", "resource_missing", "No such card");
            said.1["error"]["param"] = "payment_method".into();
            Some(said)
        }
        "card_slow" => {
            intent.status = "processing";
            None
        }
        "card_action" => {
            intent.status = "requires_action";
            None
        }
        _ => {
            intent.status = "succeeded";
            intent.charges += 1;
            None
        }
    }
}

fn cancel(intent: &mut Intent) -> Option<Said> {
    if !intent.status.starts_with("requires_") {
        return unexpected(intent);
    }
    intent.status = "canceled";
    None
}

/// An intent as in responses, with these refunds of its charge if the request expands them.
fn shown(id: &str, intent: &Intent, refunds: Option<(&RefundBooks, &str)>) -> Value {
    let charge = match (intent.charges, refunds) {
        (0, _) => Value::Null,
        (_, Some((refunds, payment))) => json!({
            "id": "ch_1", "amount_refunded": refunds.shown_as_refunded(payment),
            "refunds": refunds.list(payment, None),
        }),
        _ => "ch_1".into(),
    };
    let Intent { status, amount, currency, booking, .. } = intent;
    let received = if *status == "succeeded" { *amount } else { 0 };
    json!({
        "id": id, "status": status, "amount": amount, "amount_received": received,
        "currency": currency, "metadata": { "booking_id": booking }, "latest_charge": charge,
        "last_payment_error": intent.decline.map(|message| json!({ "message": message })),
    })
}
