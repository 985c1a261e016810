//! `export ledger`: its sums are those of the provider's books.

use holdfast::domain::{BookingId, EventId};
use holdfast::payments::{Provider, Simulated, SimulatedSettings, Stripe, StripeSettings};
use serde_json::json;

use super::{ARCHIVED_WITHIN, Shop};
use crate::support::ctl::Ran;
use crate::support::eventually;
use crate::support::servers::state_dir;
use crate::support::stripe::{self, KEY, StripeServer};
use crate::support::unique_name;

/// The lines of an export by their columns.
fn lines(ran: &Ran) -> Vec<csv::StringRecord> {
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    let text = ran.stdout.strip_prefix('\u{feff}').expect("a byte order mark");
    csv::Reader::from_reader(text.as_bytes()).records().map(Result::unwrap).collect()
}

/// Sells, cancels, refunds outside and marks as paid; then compares the sums of the ledger with what
/// `provider` shows of every payment.
async fn ledger_equals(
    shop: &Shop,
    settings: &[(&str, &str)],
    provider: &dyn Provider,
    refund_outside: impl AsyncFn(BookingId, &str, i64),
) {
    let (first, second) = (shop.world.event(8).await, shop.world.event(8).await);
    let charged = async |event: EventId, seat: u32| {
        let held = shop.world.hold(&format!("u{seat}"), event, &[seat], None).await.unwrap();
        shop.world.charge_by(provider, &held.booking).await;
        held.booking.id
    };
    let mut bookings = Vec::new();
    for seat in 1..=4 {
        bookings.push(charged(first, seat).await);
    }
    bookings.push(charged(second, 1).await);
    let names: Vec<(String, String)> = settings
        .iter()
        .map(|(name, value)| {
            (name.trim_start_matches("HOLDFAST_").to_lowercase(), (*value).to_owned())
        })
        .collect();
    let pairs: Vec<(&str, &str)> =
        names.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let _worker = shop.worker_with(&pairs).await;
    let clean =
        async || shop.ctl_with("reconcile --fix --wait-seconds 2", settings).await.code == 0;
    eventually("all is sold", ARCHIVED_WITHIN, &clean).await;
    // One is cancelled, one is refunded in part outside, one both.
    for (index, part) in [(1, 30), (2, 45)] {
        let intent = shop.world.archive.intent(bookings[index]).await.unwrap().unwrap();
        refund_outside(bookings[index], &intent.payment, part).await;
    }
    for index in [0, 2] {
        let line = format!("bookings cancel {} --reason x --yes", bookings[index]);
        let ran = shop.ctl_with(&line, settings).await;
        assert!([0, 1].contains(&ran.code), "{ran:?}");
    }
    eventually("the books agree", ARCHIVED_WITHIN, &clean).await;

    let export = async |line: &str| lines(&shop.ctl_with(line, settings).await);
    for event in [first, second] {
        let (mut kept, mut refunded) = (0, 0);
        for id in bookings.iter().filter(|id| id.event() == event) {
            let intent = shop.world.archive.intent(*id).await.unwrap().unwrap();
            let paid = provider.get(&intent.payment).await.unwrap().unwrap();
            (kept, refunded) = (kept + paid.amount - paid.refunded, refunded + paid.refunded);
        }
        let found = export(&format!("export ledger {event}")).await;
        let amount = |line: &csv::StringRecord| line[7].parse::<i64>().unwrap();
        assert_eq!(found.iter().map(amount).sum::<i64>(), kept, "{found:?}");
        let back = found.iter().filter(|line| &line[5] != "charge");
        assert_eq!(back.map(amount).sum::<i64>(), -refunded, "{found:?}");
        assert!(found.iter().all(|line| &line[6] == "provider" && &line[9] == "EUR"));
        let days = export(&format!("export ledger {event} --by-day")).await;
        let sum: i64 = days.iter().map(|line| line[5].parse::<i64>().unwrap()).sum();
        assert_eq!(sum, kept, "{days:?}");
    }
    let all = export("export ledger").await;
    let of = |index: usize| {
        let id = bookings[index].to_string();
        let own = all.iter().filter(move |line| line[1] == id);
        own.map(|line| (line[5].to_owned(), line[8].to_owned())).collect::<Vec<_>>()
    };
    let line = |kind: &str, units: &str| (kind.to_owned(), units.to_owned());
    assert_eq!(of(0), [line("charge", "1.00"), line("refund", "-1.00")]);
    assert_eq!(of(1), [line("charge", "1.00"), line("refund_outside", "-0.30")]);
    let both = [line("charge", "1.00"), line("refund", "-0.55"), line("refund_outside", "-0.45")];
    let mut found = of(2);
    found.sort();
    assert_eq!(found, both);
    assert_eq!((of(3).len(), of(4).len()), (1, 1));
    // Whole days only.
    assert!(export("export ledger --to 2020-01-01").await.is_empty());
    assert_eq!(export("export ledger --from 2020-01-01").await.len(), all.len());

    let path = state_dir().join(format!("{}.csv", unique_name()));
    let line = format!("export ledger --out {} --json", path.display());
    let written = shop.ctl_with(&line, settings).await.json(0);
    let totals = json!({ "charged": 500, "refunded": 230, "marked_paid": 0, "kept": 270 });
    assert_eq!((&written["totals"]["EUR"], &written["lines"]), (&totals, &json!(all.len())));
    let unknown = shop.ctl_with("export ledger 4711", settings).await;
    assert!(unknown.refusal().contains("event 4711 does not exist"), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ledger_has_the_sums_of_the_simulated_provider() {
    let shop = Shop::any().await;
    let books = shop.world.archive.simulated_payments();
    let provider = Simulated::new(&shop.world.archive, SimulatedSettings::default());
    let outside = async |id: BookingId, _: &str, amount: i64| {
        assert!(books.refund_outside(id, amount).await.unwrap());
    };
    ledger_equals(&shop, &[], &provider, outside).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ledger_has_the_sums_of_stripe() {
    let (shop, server) = (Shop::any().await, StripeServer::start().await);
    let url = server.url();
    let settings = stripe::settings(&url);
    let timeout = ARCHIVED_WITHIN;
    let provider = Stripe::new(&StripeSettings { url: &url, secret_key: KEY, timeout }).unwrap();
    let outside = async |_: BookingId, payment: &str, amount: i64| {
        server.refund_by_hand(payment, amount, "succeeded");
    };
    ledger_equals(&shop, &settings, &provider, outside).await;
}
