//! A collector of OpenTelemetry: takes spans by OTLP over HTTP (protobuf) and keeps them; or is slow, or
//! fails.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// Takes all spans.
    #[default]
    Takes,
    /// 500.
    Fails,
    /// Reads, and never answers.
    Silent,
}

/// A span as it came.
#[derive(Clone, Debug)]
pub struct SeenSpan {
    /// `service.name` of its process.
    pub service: String,
    pub trace_id: String,
    pub span_id: String,
    /// Empty for the first of a trace.
    pub parent_span_id: String,
    pub name: String,
    /// As in the protocol: 1 internal, 2 server, 3 client, 5 consumer.
    pub kind: i32,
    pub began_ns: u64,
    pub ended_ns: u64,
    pub attributes: BTreeMap<String, String>,
    pub linked_traces: Vec<String>,
}

#[derive(Default)]
struct Seen {
    manner: Manner,
    requests: u64,
    authorization: Option<String>,
    spans: Vec<SeenSpan>,
}

/// The collector; gone when dropped.
pub struct Collector {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Seen>>::default();
        let shared = seen.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let seen = shared.clone();
                let serve = service_fn(move |request| serve(seen.clone(), request));
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), serve);
                // Its end is the client's to notice.
                tokio::spawn(async move { drop(connection.await) });
            }
        });
        Collector { address, seen, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// With a user and password.
    pub fn url_with(&self, user_info: &str) -> String {
        format!("http://{user_info}@{}", self.address)
    }

    /// Answers like this from now on.
    pub fn becomes(&self, manner: Manner) {
        self.seen.lock().unwrap().manner = manner;
    }

    pub fn requests(&self) -> u64 {
        self.seen.lock().unwrap().requests
    }

    /// The `Authorization` of the last request.
    pub fn authorization(&self) -> Option<String> {
        self.seen.lock().unwrap().authorization.clone()
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<SeenSpan> {
        self.seen.lock().unwrap().spans.clone()
    }

    /// All spans of a trace so far.
    pub fn spans_of(&self, trace_id: &str) -> Vec<SeenSpan> {
        self.spans().into_iter().filter(|span| span.trace_id == trace_id).collect()
    }
}

async fn serve(
    seen: Arc<Mutex<Seen>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/v1/traces"));
    assert_eq!(request.headers()["content-type"], "application/x-protobuf");
    let authorization = request.headers().get("authorization");
    let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
    let body = request.into_body().collect().await?.to_bytes();
    let export = ExportTraceServiceRequest::decode(body).expect("a request of OTLP");
    let manner = {
        let mut seen = seen.lock().unwrap();
        seen.requests += 1;
        seen.authorization = authorization;
        if seen.manner == Manner::Takes {
            seen.spans.extend(spans(export));
        }
        seen.manner
    };
    let answer = |status| Response::builder().status(status).body(Full::default()).unwrap();
    Ok(match manner {
        Manner::Takes => {
            let taken = ExportTraceServiceResponse::default().encode_to_vec();
            Response::new(Full::new(Bytes::from(taken)))
        }
        Manner::Fails => answer(500),
        Manner::Silent => {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            answer(200)
        }
    })
}

fn spans(export: ExportTraceServiceRequest) -> Vec<SeenSpan> {
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    let mut all = Vec::new();
    for of_process in export.resource_spans {
        let resource = texts(of_process.resource.unwrap_or_default().attributes);
        let service = resource["service.name"].clone();
        for span in of_process.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            all.push(SeenSpan {
                service: service.clone(),
                trace_id: hex(&span.trace_id),
                span_id: hex(&span.span_id),
                parent_span_id: hex(&span.parent_span_id),
                name: span.name,
                kind: span.kind,
                began_ns: span.start_time_unix_nano,
                ended_ns: span.end_time_unix_nano,
                attributes: texts(span.attributes),
                linked_traces: span.links.iter().map(|link| hex(&link.trace_id)).collect(),
            });
        }
    }
    all
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |one: KeyValue| match one.value.and_then(|value| value.value) {
        Some(any_value::Value::StringValue(text)) => (one.key, text),
        Some(any_value::Value::IntValue(number)) => (one.key, number.to_string()),
        other => panic!("{}: {other:?}", one.key),
    };
    attributes.into_iter().map(text).collect()
}
