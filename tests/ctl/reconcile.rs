//! `holdfastctl reconcile`: compares Redis, the archive and the provider.

use serde_json::{Value, json};

use holdfast::payments::{Stripe, StripeSettings};

use super::{ARCHIVED_WITHIN, Shop};
use crate::on_one_redis;
use crate::support::eventually;
use crate::support::stripe::{self, KEY, StripeServer};

fn money(sold: i64, charged: i64, refunded: i64) -> Value {
    json!({ "sold": sold, "charged": charged, "refunded": refunded, "refund_pending": 0,
            "refunded_outside": 0, "refunded_of_sold": 0, "marked_paid": 0 })
}

on_one_redis!(payment_without_a_sale_is_found_and_repaired, async |flavor| {
    let shop = Shop::new(flavor).await;
    let worker = shop.worker().await;
    let event = shop.world.event_of(10, Some(2)).await;
    shop.buy(event, "ann", &[1, 2]).await;
    let report = shop.ctl("reconcile --json --wait-seconds 60").await.json(0);
    assert_eq!(report["totals"], json!({ "EUR": money(200, 200, 0) }));
    assert_eq!((&report["clean"], &report["payments"]), (&json!(true), &json!(1)));
    let cancelled = shop.buy(event, "bob", &[3]).await;
    shop.cancel("bob", cancelled).await;
    let report = shop.ctl("reconcile --json --wait-seconds 60").await.json(0);
    assert_eq!(report["totals"], json!({ "EUR": money(200, 300, 100) }));
    let table = shop.ctl("reconcile --wait-seconds 60").await.stdout;
    for amount in ["2.00 EUR", "3.00 EUR", "1.00 EUR", "0.00 EUR"] {
        assert!(table.contains(amount), "{amount}: {table}");
    }

    // A payment without a worker to settle it: its hold has expired.
    assert!(worker.stop());
    let held = shop.world.hold("cid", event, &[4], None).await.unwrap();
    shop.world.charge_unseen(&held.booking).await;
    let id = held.booking.id;
    eventually("it has lapsed", ARCHIVED_WITHIN, async || {
        shop.world.status(id).await == Some(holdfast::domain::Status::Expired)
    })
    .await;
    let report = shop.ctl("reconcile --json --wait-seconds 0").await.json(1);
    let difference = &report["differences"][0];
    assert_eq!(
        (&difference["booking"], &difference["kind"]),
        (&json!(id), &json!("paid_undecided"))
    );
    assert_eq!(difference["problem"], "paid, and neither sold nor given back", "{report}");
    let text = shop.ctl(&format!("reconcile --wait-seconds 0 --event {event}")).await;
    assert!(text.code == 1 && text.stdout.contains("NOT CLEAN: 3 payments, 1 diff"), "{text:?}");

    let _worker = shop.worker().await;
    let report = shop.ctl("reconcile --json --fix --wait-seconds 60").await.json(0);
    // By this run, or by the worker during or before it.
    let mended = ["committed", "sold"].map(|result| json!([{ "booking": id, "result": result }]));
    assert!(mended.contains(&report["mended"]) || report["mended"] == json!([]), "{report}");
    assert_eq!(shop.world.free(event).await, Some(7));
    shop.ctl("reconcile --event 999999").await.refusal();
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_refund_is_shown_until_it_is_solved() {
    let (shop, server) = (Shop::any().await, StripeServer::start().await);
    let url = server.url();
    let stripe = stripe::settings(&url);
    let ctl = async |line: &str| shop.ctl_with(line, &stripe).await;
    let timeout = ARCHIVED_WITHIN;
    let provider = Stripe::new(&StripeSettings { url: &url, secret_key: KEY, timeout }).unwrap();
    let event = shop.world.event(4).await;
    let held = shop.world.hold("ann", event, &[1], None).await.unwrap();
    shop.world.charge_by(&provider, &held.booking).await;
    shop.world.sale.cancel(&held.booking.user, held.booking.id).await.unwrap();

    server.refunds_are("failed");
    let attention = async || {
        let status = ctl("status --json").await.json(0);
        (status["attention"].to_string(), status["refunds"].clone())
    };
    for failures in 1..=5 {
        let report = ctl("reconcile --fix --json --wait-seconds 0").await.json(1);
        let problem = report["differences"][0]["problem"].as_str().unwrap();
        let expected =
            format!("1.00 EUR of 1.00 EUR is to be given back: its refund failed {failures} times");
        assert!(problem.contains(&expected), "{problem}");
        assert!(problem.contains("expired_or_canceled_card"), "{problem}");
        assert_eq!(report["mended"][0]["result"], "refunding");
        let (issues, counts) = attention().await;
        match failures {
            5 => assert!(issues.contains("1 refunds failed and wait for a person"), "{issues}"),
            _ => assert!(issues.contains("1 refunds failed and are tried again"), "{issues}"),
        }
        assert_eq!((&counts["pending"], &counts["overdue"]), (&json!(0), &json!(0)));
    }
    // A pending refund is no difference, and not refunded yet.
    server.refunds_are("pending");
    let report = ctl("reconcile --fix --json --wait-seconds 30").await.json(0);
    let mut eur = money(0, 100, 0);
    eur["refund_pending"] = json!(100);
    assert_eq!(report["totals"]["EUR"], eur);
    let (issues, counts) = attention().await;
    assert!(!issues.contains("refunds"), "{issues}");
    let expected = json!({ "pending": 1, "overdue": 0, "retrying": 0, "failed": 0 });
    assert_eq!(counts, expected);
    server.settle_refund("re_6", "succeeded");
    let report = ctl("reconcile --json --wait-seconds 0").await.json(0);
    assert_eq!(report["totals"]["EUR"], money(0, 100, 100));
}
