//! The collector: one request a batch, bounded in time, over the process' HTTP client.

use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tokio::time::timeout;

use super::OtlpSettings;
use crate::https::{self, HttpClient};

/// Bound of one request.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How long an idle connection to the collector is kept.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// What a collector's address lacks if it names no path of its own.
const PATH: &str = "/v1/traces";

/// The collector cannot be used as it is set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OtlpUnusable(String);

/// The server that takes the spans.
pub(super) struct Collector {
    client: HttpClient,
    url: String,
    authorization: Option<HeaderValue>,
}

impl Collector {
    pub fn new(settings: &OtlpSettings) -> Result<Self, OtlpUnusable> {
        let bounds = https::Bounds { connect: EXPORT_TIMEOUT / 2, idle: IDLE_MAX };
        let client = https::client(bounds)
            .map_err(|error| OtlpUnusable(format!("TLS is not possible: {error}")))?;
        let authorization = match &settings.credentials {
            None => None,
            Some((name, password)) => {
                let encoded = BASE64.encode(format!("{name}:{password}").as_bytes());
                // Base64 is valid in a header.
                let mut value = HeaderValue::from_str(&format!("Basic {encoded}"))
                    .map_err(|_| OtlpUnusable("its password is invalid".to_owned()))?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Collector { client, url: with_path(&settings.url), authorization })
    }

    /// Sends a batch; returns how many spans were rejected.
    pub async fn send(&self, batch: ExportTraceServiceRequest) -> Result<u64, String> {
        let mut request = Request::post(&self.url)
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(USER_AGENT, concat!("holdfast/", env!("CARGO_PKG_VERSION")));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let body = Full::new(Bytes::from(batch.encode_to_vec()));
        let request = request.body(body).map_err(|error| error.to_string())?;
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| chain(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| chain(&*error))?.to_bytes();
            if !status.is_success() {
                return Err(format!("the collector answers {}", status.as_u16()));
            }
            // An answer that is none of the protocol rejects nothing.
            let answer = ExportTraceServiceResponse::decode(body).unwrap_or_default();
            let rejected = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
            Ok(u64::try_from(rejected).unwrap_or(0))
        };
        match timeout(EXPORT_TIMEOUT, exchange).await {
            Ok(result) => result,
            Err(_) => Err("the collector does not answer in time".to_owned()),
        }
    }
}

fn with_path(url: &str) -> String {
    let trimmed = url.trim_end_matches('/');
    let has_path = trimmed.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
    if has_path { trimmed.to_owned() } else { format!("{trimmed}{PATH}") }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_is_appended_where_there_is_none() {
        for (url, expected) in [
            ("http://h:4318", "http://h:4318/v1/traces"),
            ("http://h:4318/", "http://h:4318/v1/traces"),
            ("https://h/otlp/v1/traces", "https://h/otlp/v1/traces"),
        ] {
            assert_eq!(with_path(url), expected);
        }
    }
}
