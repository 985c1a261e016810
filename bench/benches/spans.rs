//! Measures what tracing costs a request with three spans (request, gates, script): while nothing is
//! exported, for a trace that is not recorded, and for one that is. `make bench-spans` runs it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use holdfast::telemetry::TraceContext;
use holdfast::telemetry::sampling::Sampler;
use holdfast::telemetry::spans::{self, Span, SpanKind};

/// Between two looks at the ended spans, which a collector would get.
const PAUSE: Duration = Duration::from_millis(1);

/// What the API does for one hold.
fn request(caller: Option<TraceContext>) {
    let context = spans::context_of_request(caller, Instant::now());
    let mut request = Span::of_request(context, 1);
    context.scope_now(|| {
        drop(Span::child("gates", SpanKind::Internal));
        let mut script = Span::child("EVALSHA hold", SpanKind::Client);
        if script.is_recorded() {
            script.set("db.system.name", "redis");
            script.set("db.operation.name", "EVALSHA");
            script.set("db.stored_procedure.name", "hold");
            script.set("holdfast.partition", 3);
            script.set("holdfast.script.reply", "held");
        }
    });
    if let Some(record) = request.record() {
        record.name = format!("{} {}", black_box("POST"), black_box("/api/v1/bookings")).into();
        request.set_text("http.request.method", &black_box("POST"));
        request.set("http.route", black_box("/api/v1/bookings").to_owned());
        request.set("url.path", black_box("/api/v1/bookings").to_owned());
        request.set("url.scheme", "http");
        request.set("http.response.status_code", 201);
    }
}

fn traces(criterion: &mut Criterion) {
    let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let caller = TraceContext::from_traceparent(header);
    criterion.bench_function("off", |bench| bench.iter(|| request(None)));
    // Records what a caller has sampled, and next to nothing else.
    let Some(mut ended) = spans::start(Sampler::new(1, u32::MAX)) else { return };
    std::thread::spawn(move || {
        loop {
            while let Ok(record) = ended.try_recv() {
                drop(black_box(record));
            }
            std::thread::sleep(PAUSE);
        }
    });
    criterion.bench_function("not recorded", |bench| bench.iter(|| request(None)));
    criterion.bench_function("recorded", |bench| bench.iter(|| request(caller)));
}

criterion_group!(all, traces);
criterion_main!(all);
