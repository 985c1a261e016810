//! `payments list`, `show`, `refund retry` and `refund mark-paid`.

use holdfast::payments::{Stripe, StripeSettings};
use serde_json::json;

use super::{ARCHIVED_WITHIN, RUNS_MAX, Shop, was_left_alone};
use crate::support::eventually;
use crate::support::stripe::{self, KEY, StripeServer};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_refund_is_listed_and_marked_as_paid() {
    let (shop, server) = (Shop::any().await, StripeServer::start().await);
    let url = server.url();
    let stripe = stripe::settings(&url);
    let ctl = async |line: &str| {
        for _ in 1..RUNS_MAX {
            let ran = shop.ctl_with(line, &stripe).await;
            if !was_left_alone(line, &ran) {
                return ran;
            }
        }
        shop.ctl_with(line, &stripe).await
    };
    let timeout = ARCHIVED_WITHIN;
    let provider = Stripe::new(&StripeSettings { url: &url, secret_key: KEY, timeout }).unwrap();
    let event = shop.world.event(4).await;
    let held = shop.world.hold("ann", event, &[1], None).await.unwrap();
    shop.world.charge_by(&provider, &held.booking).await;
    let id = held.booking.id;
    shop.world.sale.cancel(&held.booking.user, id).await.unwrap();
    server.refunds_are("failed");
    // The first attempt is made by `reconcile`, which also decides.
    ctl("reconcile --fix --wait-seconds 0").await.ended(1);
    let retry = format!("payments refund retry {id} --reason topped-up");
    let unasked = ctl(&retry).await;
    assert!(unasked.code == 2 && unasked.stderr.contains("add --yes"), "{unasked:?}");
    for _ in 2..=5 {
        ctl(&format!("{retry} --yes")).await.ended(1);
    }
    let listed = ctl("payments list --refund failed --json").await.json(0);
    let one = &listed["payments"][0];
    assert_eq!((&one["booking"], &one["needs_person"]), (&json!(id), &json!(true)), "{listed}");
    assert_eq!((&one["refund_failures"], &one["refunded"]), (&json!(5), &json!(0)), "{listed}");
    let text = ctl(&format!("payments list --event {event}")).await.stdout;
    assert!(text.contains("1.00 EUR") && text.contains("failed: needs a person"), "{text}");
    let status = ctl("status --json").await.json(0);
    assert!(status["attention"].to_string().contains("payments list --refund failed"), "{status}");
    let report = ctl("reconcile --json --wait-seconds 0").await.json(1);
    assert_eq!(report["differences"][0]["kind"], "refund_failed", "{report}");
    assert!(report["differences"][0]["fix"].as_str().unwrap().contains("mark-paid"), "{report}");
    let shown = ctl(&format!("payments show {id}")).await;
    assert!(shown.stdout.contains("IT NEEDS A PERSON"), "{shown:?}");

    let mark = format!("payments refund mark-paid {id} --reference SEPA-17");
    let unasked = ctl(&mark).await;
    assert!(
        unasked.code == 2 && unasked.stderr.contains("by another way (SEPA-17)"),
        "{unasked:?}"
    );
    let marked = ctl(&format!("{mark} --yes --json")).await.json(0);
    assert_eq!((&marked["amount"], &marked["currency"]), (&json!(100), &json!("EUR")), "{marked}");
    assert_eq!((&marked["result"], &marked["replayed"]), (&json!("refunded"), &json!(false)));
    assert_eq!(ctl(&format!("{mark} --yes --json")).await.json(0)["replayed"], true);
    let acts = ctl("audit --json --limit 2").await.json(0)["acts"].clone();
    assert_eq!(
        (&acts[1]["act"], &acts[1]["result"]),
        (&json!("ctl payments refund mark-paid"), &json!("ok"))
    );
    assert!(acts[1]["detail"].as_str().unwrap().contains("--reference SEPA-17"), "{acts}");

    let report = ctl("reconcile --json --fix --wait-seconds 0").await.json(0);
    assert_eq!(report["totals"]["EUR"]["marked_paid"], 100, "{report}");
    assert_eq!(ctl("status --json").await.json(0)["refunds"]["failed"], 0);
    assert_eq!(server.intent("pi_1").unwrap().refunded, 0);
    let shown = ctl(&format!("payments show {id} --json")).await.json(0);
    let movements = shown["movements"].as_array().unwrap();
    let kinds: Vec<_> = movements.iter().map(|one| (&one["kind"], &one["amount"])).collect();
    let expected = [(&json!("charge"), &json!(100)), (&json!("marked_paid"), &json!(-100))];
    assert_eq!((kinds, &shown["kept"]), (expected.to_vec(), &json!(0)), "{shown}");
    assert_eq!(movements[1]["reference"], "SEPA-17");
    assert_eq!(movements[1]["recorded_by"], marked["recorded_by"]);
    let text = ctl(&format!("payments show {id}")).await.stdout;
    assert!(text.contains("-1.00 EUR") && text.contains("kept: 0.00 EUR"), "{text}");
    let none = ctl("payments show 019a8f6e-5f2c-8a31-8000-0001c0000000").await;
    assert!(none.code == 2 && !none.stderr.is_empty(), "{none:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refund_from_outside_is_reported_recorded_and_not_repeated() {
    let shop = Shop::any().await;
    let _worker = shop.worker().await;
    let event = shop.world.event(4).await;
    let id = shop.buy(event, "ann", &[1]).await;
    shop.ctl("reconcile --wait-seconds 60").await.ended(0);
    let books = shop.world.archive.simulated_payments();
    assert!(books.refund_outside(id, 40).await.unwrap());
    assert!(!books.refund_outside(id, 70).await.unwrap(), "no more than was paid");
    let report = shop.ctl("reconcile --json --wait-seconds 0").await.json(1);
    assert_eq!(report["differences"][0]["kind"], "refund_unrecorded", "{report}");
    shop.ctl(&format!("payments show {id}")).await.ended(1);
    let report = shop.ctl("reconcile --json --fix --wait-seconds 60").await.json(0);
    let eur = &report["totals"]["EUR"];
    assert_eq!((&eur["refunded_of_sold"], &eur["refunded_outside"]), (&json!(40), &json!(40)));
    let shown = shop.ctl(&format!("payments show {id} --json")).await.json(0);
    assert_eq!((&shown["state"], &shown["kept"]), (&json!("sold"), &json!(60)), "{shown}");
    let listed = shop.ctl("payments list --returned --json").await.json(0);
    assert_eq!(listed["payments"][0]["refunded_outside"], 40, "{listed}");
    let cancel = format!("bookings cancel {id} --reason x --yes");
    // The worker may be quicker.
    let cancelled = shop.ctl(&cancel).await;
    assert!([0, 1].contains(&cancelled.code), "{cancelled:?}");
    eventually("the rest is given back", ARCHIVED_WITHIN, async || {
        books.find(id).await.is_ok_and(|found| found.is_some_and(|one| one.refunded == 100))
    })
    .await;
    assert_eq!(books.find(id).await.unwrap().unwrap().refunded_outside, 40);
    shop.ctl("reconcile --wait-seconds 60").await.ended(0);
    // Pages.
    shop.buy(event, "bob", &[2]).await;
    let first = shop.ctl("payments list --limit 1 --json").await.json(0);
    let next = first["next"].as_str().expect("a second page");
    let second = shop.ctl(&format!("payments list --after {next} --json")).await.json(0);
    assert_eq!(second["payments"].as_array().unwrap().len(), 1, "{second}");
    assert!(second["next"].is_null());
}
