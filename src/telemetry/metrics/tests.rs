use super::*;

#[test]
fn the_table_is_well_formed_and_rendered() {
    let metrics = Metrics::new("test");
    metrics.booking_attempts.inc();
    metrics.http_requests.with_label_values(&["GET", "/health", "200"]).inc();
    let text = metrics.render();
    for line in [
        "booking_attempts_total 1",
        "bookings_expired_total 0",
        r#"http_requests_total{method="GET",route="/health",status="200"} 1"#,
        "process_open_fds",
    ] {
        assert!(text.contains(line), "{line}");
    }
}

#[test]
fn process_exports_what_it_sets_itself_alone() {
    let exported = |service| Metrics::new(service).render();
    let (api, worker) = (exported(API), exported(WORKER));
    let has = |text: &str, name: &str| text.lines().any(|l| l.starts_with(&format!("{name} ")));
    for (name, by_api, by_worker) in [
        ("booking_attempts_total", true, false),
        ("holdfast_live_stale", true, false),
        ("holdfast_policy_unusable", true, false),
        ("holdfast_unknown_outcomes_total", true, false),
        ("bookings_expired_total", false, true),
        ("holdfast_admission_share", false, true),
        ("holdfast_double_sale_prevented_total", false, true),
        ("holdfast_log_forks_total", false, true),
        ("holdfast_panics_total", true, true),
        ("holdfast_redis_in_flight", true, true),
    ] {
        assert_eq!((has(&api, name), has(&worker, name)), (by_api, by_worker), "{name}");
    }
}

#[test]
fn two_servers_in_one_process_count_apart() {
    let (one, other) = (Metrics::new("a"), Metrics::new("b"));
    one.booking_attempts.inc();
    assert_eq!((one.booking_attempts.get(), other.booking_attempts.get()), (1, 0));
}
