//! An HTTP client for tests: short requests, checks that every response must pass, and raw bytes for
//! requests that no honest client sends.

use std::time::Duration;

use reqwest::{Method, header::HeaderMap};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bound of any response: the sum of the timeouts of a confirmation, on a machine that stalls.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);
/// Most repetitions by a patient client.
const REPEATS_MAX: u32 = 60;
/// Pause before a repetition, which doubles each time up to a bound, so that repetitions do not keep a
/// slow service slow.
const REPEAT_PAUSE: Duration = Duration::from_millis(250);
const REPEAT_PAUSE_MAX: Duration = Duration::from_secs(4);

/// A client of one server. Each test creates its own: connections belong to the test's runtime.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    repeats_max: u32,
}

impl Client {
    pub fn new(base: &str) -> Self {
        let builder = reqwest::Client::builder().timeout(ANSWER_TIMEOUT);
        let http = builder.redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Client { http, base: base.to_owned(), repeats_max: 0 }
    }

    /// Creates a client that connects from another address of this machine, as a proxy would.
    pub fn from(&self, address: &str) -> Self {
        let builder = reqwest::Client::builder().timeout(ANSWER_TIMEOUT);
        let builder = builder.local_address(Some(address.parse().unwrap()));
        let http = builder.redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Client { http, ..self.clone() }
    }

    /// Creates a client that repeats requests after 503: for tests of decisions, on machines whose
    /// services are slow at times.
    pub fn patient(self) -> Self {
        Client { repeats_max: REPEATS_MAX, ..self }
    }

    /// `host:port` of the server.
    pub fn address(&self) -> &str {
        self.base.strip_prefix("http://").expect("plain HTTP")
    }

    pub fn ask(&self, method: Method, path: &str) -> Ask {
        let request = self.http.request(method, format!("{}{path}", self.base));
        Ask { request, repeats_max: self.repeats_max }
    }

    pub fn get(&self, path: &str) -> Ask {
        self.ask(Method::GET, path)
    }

    pub fn post(&self, path: &str) -> Ask {
        self.ask(Method::POST, path)
    }

    /// Sends bytes as they are over a connection of their own.
    pub async fn raw(&self, bytes: &[u8]) -> Raw {
        let mut stream = TcpStream::connect(self.address()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        Raw { stream, read: Vec::new() }
    }

    /// The value of a metric without labels, or the sum over its labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").send().await.text();
        let lines = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// The value of a metric with these labels, written as Prometheus does.
    pub async fn labelled_metric(&self, labelled: &str) -> f64 {
        self.get("/metrics").send().await.labelled_metric(labelled)
    }
}

/// A request under construction.
pub struct Ask {
    request: reqwest::RequestBuilder,
    repeats_max: u32,
}

impl Ask {
    pub fn user(self, user: &str) -> Self {
        self.header("X-User-Id", user)
    }

    pub fn header(self, name: &str, value: &str) -> Self {
        Ask { request: self.request.header(name, value), ..self }
    }

    /// Shows a token, as `auth = "jwt"` wants it.
    pub fn token(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub fn header_bytes(self, name: &str, value: &[u8]) -> Self {
        Ask { request: self.request.header(name, value), ..self }
    }

    pub fn json(self, body: Value) -> Self {
        Ask { request: self.request.json(&body), ..self }
    }

    pub fn body(self, bytes: impl Into<Vec<u8>>) -> Self {
        Ask { request: self.request.body(bytes.into()), ..self }
    }

    pub async fn send(self) -> Reply {
        self.try_send().await.expect("an answer")
    }

    pub async fn try_send(self) -> Result<Reply, reqwest::Error> {
        let (mut repeats, mut pause) = (0, REPEAT_PAUSE);
        loop {
            let request = self.request.try_clone().expect("a body in memory");
            let answer = request.send().await?;
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            if status == 503 && repeats < self.repeats_max {
                repeats += 1;
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(REPEAT_PAUSE_MAX);
                continue;
            }
            let bytes = answer.bytes().await?.to_vec();
            return Ok(Reply { status, headers, bytes, repeats });
        }
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
    /// How often the request was repeated.
    pub repeats: u32,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8(self.bytes.clone()).expect("a text")
    }

    /// The body of an answer with this status.
    #[track_caller]
    pub fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.bytes));
        serde_json::from_slice(&self.bytes).expect("JSON")
    }

    /// In an answer of `/metrics`: the value of a metric with these labels, written as Prometheus
    /// does.
    pub fn labelled_metric(&self, labelled: &str) -> f64 {
        let text = self.text();
        let line = text.lines().find_map(|line| line.strip_prefix(labelled));
        line.map_or(0.0, |rest| rest.trim().parse().expect("a number"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The body of a refusal, which has every part that all refusals have.
    #[track_caller]
    pub fn problem(&self, status: u16, error: &str) -> Value {
        let body = self.any_problem();
        assert_eq!((self.status, body["error"].as_str()), (status, Some(error)), "{body}");
        body
    }

    /// The same, whichever refusal it is.
    #[track_caller]
    pub fn any_problem(&self) -> Value {
        let text = String::from_utf8_lossy(&self.bytes);
        assert!(self.status >= 400, "{} is no refusal: {text}", self.status);
        let media = self.header("content-type");
        assert_eq!(media, Some("application/problem+json"), "{}: {text}", self.status);
        let body: Value = serde_json::from_slice(&self.bytes).expect("JSON");
        let error = body["error"].as_str().expect("`error`");
        assert_eq!(body["type"], format!("urn:holdfast:problem:{error}"));
        assert_eq!(body["status"], self.status, "{body}");
        for name in ["title", "detail"] {
            assert!(body[name].as_str().is_some_and(|text| text.len() >= 10), "{name}: {body}");
        }
        assert_eq!(body["trace_id"].as_str(), self.header("x-trace-id"), "{body}");
        assert_eq!(self.header("x-trace-id").map(str::len), Some(32), "{body}");
        body
    }
}

/// A connection on which every byte is the test's own.
pub struct Raw {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Raw {
    pub async fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).await.unwrap();
    }

    /// The same where the server may have closed the connection.
    pub async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Reads the next response, with `Content-Length` bytes of body.
    pub async fn answer(&mut self, bound: Duration) -> Reply {
        let answer = self.answer_unless_closed(bound).await;
        answer.unwrap_or_else(|| panic!("closed after {:?}", String::from_utf8_lossy(&self.read)))
    }

    /// The same; `None` if the server closes the connection instead.
    pub async fn answer_unless_closed(&mut self, bound: Duration) -> Option<Reply> {
        let read = async {
            loop {
                if let Some((reply, rest)) = parse(&self.read) {
                    self.read.drain(..rest);
                    return Some(reply);
                }
                // A reset is a way to close, too.
                if self.stream.read_buf(&mut self.read).await.unwrap_or(0) == 0 {
                    return None;
                }
            }
        };
        tokio::time::timeout(bound, read).await.expect("an answer within the bound")
    }

    /// What has come once it is enough.
    pub async fn until(&mut self, bound: Duration, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let read = async {
            while !enough(&self.read) {
                let count = self.stream.read_buf(&mut self.read).await.unwrap();
                assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&self.read));
            }
            std::mem::take(&mut self.read)
        };
        tokio::time::timeout(bound, read).await.expect("enough within the bound")
    }

    /// Whether the server closes the connection within the bound.
    pub async fn closes(&mut self, bound: Duration) -> bool {
        let mut sink = Vec::new();
        // A reset is a way to close, too.
        tokio::time::timeout(bound, self.stream.read_to_end(&mut sink)).await.is_ok()
    }
}

/// An answer and the bytes it took, if it is all there.
fn parse(bytes: &[u8]) -> Option<(Reply, usize)> {
    let head_len = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..head_len]).expect("a plain head");
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().expect("a status");
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let name: reqwest::header::HeaderName = name.parse().expect("a header's name");
        headers.append(name, value.trim().parse().expect("a header's value"));
    }
    let length = headers.get("content-length").map_or("0", |value| value.to_str().unwrap());
    let end = head_len + length.parse::<usize>().expect("a length");
    let body = bytes.get(head_len..end)?.to_vec();
    Some((Reply { status, headers, bytes: body, repeats: 0 }, end))
}
