//! Seat maps a second of the whole server, as a ratio to a bare actix-web handler with the same
//! response, head and body ([`super::bare`]): the map of an event with 50,000 seats in each of its
//! forms, and `304 Not Modified`. First with the rules off that all processes count together, then
//! with all rules on (observing, as one machine would be refused otherwise).

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::process::Command;

use super::beside::{
    self, Bare, Case, Compared, How, address, print_heading, request, send, until,
};
use super::cost::metrics;
use super::load::{Answer, Requests};

/// Users that take turns.
const USERS: usize = 10_000;
/// The event: sections of rows of seats.
const SECTIONS: usize = 5;
const ROWS: usize = 100;
const SEATS_PER_ROW: usize = 100;
/// The required ratios with the distributed rules off, and on.
const TARGETS: [(&str, f64); 2] = [("off", 0.9), ("on", 0.6)];
/// How long rules may take to be adopted.
const WAIT_MAX: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Headers that each server adds itself.
const OWN_HEADERS: [&str; 3] = ["content-length", "date", "connection"];

/// The command line's options.
#[derive(clap::Args)]
pub struct Options {
    /// Address of an API process, such as http://127.0.0.1:8000
    #[arg(long)]
    url: String,
    /// The program that changes the API's rules, with the settings of the API in its environment
    #[arg(long, default_value = "holdfastctl")]
    ctl: PathBuf,
    #[command(flatten)]
    how: How,
    /// File for the figures as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

/// A form of the map: its name, and lines of a request's head.
const FORMS: [(&str, &str); 3] = [
    ("bytes", "accept: application/octet-stream\r\n"),
    ("JSON, gzip", "accept: application/json\r\naccept-encoding: gzip\r\n"),
    ("JSON", "accept: application/json\r\n"),
];

/// Runs the comparison and prints it; the last line is the result as JSON.
pub async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let api = address(&options.url)?;
    let path = format!("/api/v1/events/{}/seats", event(api).await?);
    let ctl = Ctl { program: &options.ctl, api };
    for rule in ctl.distributed_rules().await? {
        ctl.limits(&["set", &rule, "--mode", "off"]).await?;
    }
    let mut compared = Vec::new();
    print_heading("seat maps");
    for (rules, target) in TARGETS {
        if rules == "on" {
            ctl.limits(&["mode", "observe"]).await?;
        }
        for (name, head) in FORMS {
            let sample = send(api, &request(&get(&path), "ann", 0, head, "")).await?;
            let known = format!("{head}if-none-match: {}\r\n", etag(&sample)?);
            if name == "JSON" {
                let sample = send(api, &request(&get(&path), "ann", 0, &known, "")).await?;
                let case = case("304", rules, 304, target);
                compared.push(one(case, &path, &known, &sample, &options.how, api).await?);
            }
            let case = case(name, rules, 200, target);
            compared.push(one(case, &path, head, &sample, &options.how, api).await?);
        }
    }
    let json = json!({
        "how": options.how.json().await,
        "users": USERS,
        "seats": SECTIONS * ROWS * SEATS_PER_ROW,
        "compared": compared.iter().map(Compared::json).collect::<Vec<_>>(),
    });
    if let Some(path) = &options.json {
        std::fs::write(path, format!("{json:#}\n"))?;
    }
    println!("{json}");
    Ok(())
}

fn case(name: &str, rules: &str, status: u16, target: f64) -> Case {
    Case { name: format!("{name}, rules {rules}"), depth: 1, status, target: Some(target) }
}

async fn one(
    case: Case,
    path: &str,
    head: &str,
    sample: &Answer,
    how: &How,
    api: SocketAddr,
) -> Result<Compared, Box<dyn Error>> {
    if sample.status != case.status {
        return Err(format!("{} instead of {}: {}", sample.status, case.status, case.name).into());
    }
    let body = std::env::temp_dir().join(format!("holdfast-bench-{}-body", std::process::id()));
    // A file or link that somebody else put there is not written to.
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&body)?;
    std::io::Write::write_all(&mut file, &sample.body)?;
    let bare = Bare::start(&arguments(path, sample, &body), how).await;
    // It has read it before it says where it serves.
    std::fs::remove_file(&body)?;
    let user = |user| request(&get(path), &format!("user-{user:05}"), user, head, "");
    let requests = Arc::new(Requests::new((0..USERS).map(user)));
    how.compare(case, &requests, &bare?, api).await
}

/// Returns the bare server's arguments for the same response as this one.
fn arguments(path: &str, sample: &Answer, body: &Path) -> Vec<String> {
    let mut arguments = vec!["document".to_owned()];
    arguments.extend(["--path".to_owned(), path.to_owned()]);
    arguments.extend(["--status".to_owned(), sample.status.to_string()]);
    arguments.extend(["--body".to_owned(), body.display().to_string()]);
    for line in sample.head.lines().skip(1).filter(|line| !line.is_empty()) {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        if !OWN_HEADERS.contains(&name.as_str()) {
            arguments.extend(["--header".to_owned(), line.to_owned()]);
        }
    }
    arguments
}

fn get(path: &str) -> String {
    format!("GET {path}")
}

fn etag(answer: &Answer) -> Result<&str, Box<dyn Error>> {
    let etag = answer.head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("etag").then(|| value.trim())
    });
    Ok(etag.ok_or("an answer without a tag")?)
}

/// Creates an event whose map is served; returns its id.
async fn event(api: SocketAddr) -> Result<u64, Box<dyn Error>> {
    let row = |row: usize| json!({ "row": row.to_string(), "seats": SEATS_PER_ROW });
    let section = |section: usize| {
        let rows: Vec<Value> = (1..=ROWS).map(row).collect();
        json!({ "name": format!("Section {section}"), "price": 100 * section, "rows": rows })
    };
    let event = json!({
        "name": "Seat maps",
        "currency": "EUR",
        "sections": (1..=SECTIONS).map(section).collect::<Vec<_>>(),
    });
    let event = beside::event(api, &event).await?;
    let map = get(&format!("/api/v1/events/{event}/seats"));
    until(api, &request(&map, "ann", 0, "", ""), 200).await?;
    Ok(event)
}

/// The operator's tool and the API that it configures.
struct Ctl<'a> {
    program: &'a Path,
    api: SocketAddr,
}

impl Ctl<'_> {
    async fn run(&self, arguments: &[&str]) -> Result<Value, Box<dyn Error>> {
        let ran = Command::new(self.program).args(["limits"]).args(arguments).output();
        let output = ran.await.map_err(|error| format!("{}: {error}", self.program.display()))?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            return Err(format!("limits {}: {errors}", arguments.join(" ")).into());
        }
        Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
    }

    /// Returns the names of the rules that all processes count together.
    async fn distributed_rules(&self) -> Result<Vec<String>, Box<dyn Error>> {
        let list = self.run(&["list", "--json"]).await?;
        let rules = list["rules"].as_array().ok_or("the list has no rules")?;
        let names = rules.iter().filter(|rule| rule["place"]["value"] == "redis");
        let names: Vec<String> =
            names.filter_map(|rule| rule["name"].as_str()).map(str::to_owned).collect();
        if names.is_empty() { Err("there are no distributed rules".into()) } else { Ok(names) }
    }

    /// Changes the rules and waits until the API has adopted them.
    async fn limits(&self, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
        self.run(arguments).await?;
        let list = self.run(&["list", "--json"]).await?;
        let revision = list["changed_last"]["revision"].as_f64().ok_or("nothing was changed")?;
        let began = Instant::now();
        while self.adopted().await? < revision {
            if began.elapsed() > WAIT_MAX {
                return Err(format!("the API does not adopt revision {revision}").into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Returns the revision of the rules that the API has adopted.
    async fn adopted(&self) -> Result<f64, Box<dyn Error>> {
        let metrics = metrics(self.api).await?;
        let line = metrics.lines().find(|line| line.starts_with("holdfast_policy_revision"));
        let revision = line.and_then(|line| line.rsplit(' ').next());
        Ok(revision.ok_or("the API has no metric of its rules' revision")?.parse()?)
    }
}
