//! Spans as messages of OTLP. Fields and types are those of `opentelemetry-proto`.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind as ProtoKind};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, status};

use crate::telemetry::spans::{AttributeValue, SpanKind, SpanRecord};

/// The request that exports these spans of this process.
pub(super) fn request(resource: &Resource, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope = InstrumentationScope {
        name: "holdfast".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let spans = ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() };
    let all = ResourceSpans {
        resource: Some(resource.clone()),
        scope_spans: vec![spans],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest { resource_spans: vec![all] }
}

/// What identifies this process to the collector.
pub(super) fn resource(service: &str) -> Resource {
    let text = |name, value: String| attribute(name, AttributeValue::from(value));
    let attributes = vec![
        text("service.name", service.to_owned()),
        text("service.namespace", "holdfast".to_owned()),
        text("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        text("service.instance.id", format!("{:032x}", rand::random::<u128>())),
        attribute("process.pid", i64::from(std::process::id()).into()),
    ];
    Resource { attributes, ..Resource::default() }
}

fn attribute(name: &str, value: AttributeValue) -> KeyValue {
    let value = match value {
        AttributeValue::Text(text) => any_value::Value::StringValue(text.into_owned()),
        AttributeValue::Number(number) => any_value::Value::IntValue(number),
    };
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: name.to_owned(), value, ..KeyValue::default() }
}

/// A span as a message.
pub(super) fn span(record: SpanRecord) -> Span {
    let parent = record.parent_span_id;
    let kind = match record.kind {
        SpanKind::Internal => ProtoKind::Internal,
        SpanKind::Server => ProtoKind::Server,
        SpanKind::Client => ProtoKind::Client,
        SpanKind::Consumer => ProtoKind::Consumer,
    };
    let link = record.link.map(|linked| Link {
        trace_id: linked.trace_id().bytes().to_vec(),
        span_id: linked.span_id().to_be_bytes().to_vec(),
        flags: u32::from(linked.is_sampled()),
        ..Link::default()
    });
    let status = record.error.map(|reason| Status {
        message: reason.into_owned(),
        code: status::StatusCode::Error.into(),
    });
    let attributes = record.attributes.into_iter();
    Span {
        trace_id: record.context.trace_id().bytes().to_vec(),
        span_id: record.context.span_id().to_be_bytes().to_vec(),
        parent_span_id: if parent == 0 { Vec::new() } else { parent.to_be_bytes().to_vec() },
        flags: u32::from(record.context.is_sampled()),
        name: record.name.into_owned(),
        kind: kind.into(),
        start_time_unix_nano: record.began_ns,
        end_time_unix_nano: record.ended_ns,
        attributes: attributes.map(|(name, value)| attribute(name, value)).collect(),
        links: link.into_iter().collect(),
        status,
        ..Span::default()
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::telemetry::TraceContext;

    #[test]
    fn span_is_encoded() {
        let parent = TraceContext::new_root().sampled(true);
        let name = Cow::Borrowed("EVALSHA hold");
        let mut record = SpanRecord::new(parent.child(), parent.span_id(), name, SpanKind::Client);
        record.attributes.push(("db.system.name", "redis".into()));
        record.error = Some(Cow::Borrowed("unknown"));
        record.link = Some(parent);
        let message = span(record.clone());
        assert_eq!(message.trace_id, parent.trace_id().bytes());
        assert_eq!(message.parent_span_id, parent.span_id().to_be_bytes());
        assert_ne!(message.span_id, message.parent_span_id);
        assert_eq!(
            (message.name.as_str(), message.kind),
            ("EVALSHA hold", ProtoKind::Client.into())
        );
        assert_eq!((message.links.len(), message.attributes.len()), (1, 1));
        assert_eq!(message.status.unwrap().code, i32::from(status::StatusCode::Error));
        record.parent_span_id = 0;
        assert!(span(record).parent_span_id.is_empty());
    }
}
