//! Granted holds at three times the rate that a server can serve (open loop): what is still served, how
//! soon, and how soon the rest is refused. The most that it can serve is measured in the same round.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::beside::{How, address};
use super::decisions::median;
use super::grants::grants_load;
use super::load::{Load, Outcome};

/// The load, as a multiple of what the server can serve.
const MULTIPLE: f64 = 3.0;
/// Connections of the overload: more than may wait at once.
const CONNECTIONS: usize = 1_024;
/// Required share of what the server can serve.
const GOODPUT_TARGET: f64 = 0.9;
/// Required bounds of 99 of 100 answers, ms.
const SERVED_TARGET_MS: f64 = 250.0;
const REFUSED_TARGET_MS: f64 = 5.0;

/// The command line's options.
#[derive(clap::Args)]
pub struct Options {
    /// Address of an API process, such as http://127.0.0.1:8000
    #[arg(long)]
    url: String,
    #[command(flatten)]
    how: How,
    /// A file that is to have the figures as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Runs the rounds and prints their medians; the last line is the result as JSON.
pub async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let (api, time) = (address(&options.url)?, Duration::from_secs(options.how.round_seconds));
    let (mut served, mut overloaded) = (Vec::new(), Vec::new());
    for round in 0..options.how.rounds {
        let outcome = grants_load(api, 2 * round).await?.run_timed(time).await?;
        let interval = CONNECTIONS as f64 / (MULTIPLE * outcome.per_second);
        served.push(outcome);
        let load = Load {
            connections: CONNECTIONS,
            refusal: Some(503),
            interval: Some(Duration::from_secs_f64(interval)),
            ..grants_load(api, 2 * round + 1).await?
        };
        overloaded.push(load.run_timed(time).await?);
        eprint!("\rround {} of {}", round + 1, options.how.rounds);
    }
    eprintln!();
    let json = print(&served, &overloaded);
    if let Some(path) = &options.json {
        std::fs::write(path, format!("{json:#}\n"))?;
    }
    println!("{json}");
    Ok(())
}

fn print(served: &[Outcome], overloaded: &[Outcome]) -> serde_json::Value {
    let of = |outcomes: &[Outcome], figure: &dyn Fn(&Outcome) -> f64| {
        median(outcomes.iter().map(figure).collect())
    };
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let most = of(served, &|one| one.per_second);
    let goodput = of(overloaded, &|one| one.per_second);
    let ratios = served.iter().zip(overloaded);
    let ratio = median(ratios.map(|(most, over)| over.per_second / most.per_second).collect());
    let [p50, p99] = [0.5, 0.99].map(|share| of(overloaded, &|one| ms(one.percentile(share))));
    let [refused_p50, refused_p99] =
        [0.5, 0.99].map(|share| of(overloaded, &|one| ms(one.refusal_percentile(share))));
    let refused = of(overloaded, &|one| {
        one.refused.len() as f64 / (one.refused.len() + one.latencies.len()) as f64
    });
    println!("served at most {most:.0} holds a second");
    println!(
        "at {MULTIPLE} times that: {goodput:.0} a second, {ratio:.2} of it (at least {GOODPUT_TARGET})"
    );
    println!("  served: p50 {p50:.1} ms, p99 {p99:.1} ms (at most {SERVED_TARGET_MS})");
    println!(
        "  refused: {:.0} %, p50 {refused_p50:.1} ms, p99 {refused_p99:.1} ms (at most {REFUSED_TARGET_MS})",
        refused * 100.0
    );
    json!({
        "most_per_second": most,
        "goodput_per_second": goodput,
        "goodput_ratio": ratio,
        "goodput_ratio_target": GOODPUT_TARGET,
        "served_p50_ms": p50,
        "served_p99_ms": p99,
        "refused_p50_ms": refused_p50,
        "refused_p99_ms": refused_p99,
        "refused_share": refused,
    })
}
