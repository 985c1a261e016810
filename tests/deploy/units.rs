//! The files for machines with systemd, and the chart's values: their variables are settings that the programs
//! take together, their ports are those that nginx and Prometheus know. `make deploy-check` has systemd and Helm
//! read them.

use std::collections::BTreeMap;

use holdfast::config::Config;

use super::file;

/// The variables of files in `/etc/holdfast`, later ones outranking earlier ones, as systemd reads them.
fn environment(files: &[&str]) -> BTreeMap<String, String> {
    let text: String =
        files.iter().map(|name| file(&format!("deploy/systemd/etc/{name}"))).collect();
    let text = text
        .replace("SHA256\n", &format!("{}\n", "ab".repeat(32)))
        .replace(":SECRET", &format!(":{}", "cd".repeat(32)));
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split_once('=').unwrap()).map(|(n, v)| (n.into(), v.into())).collect()
}

#[test]
fn programs_take_the_files_of_systemd() {
    let nginx = file("deploy/nginx/nginx.conf");
    let mut ports = Vec::new();
    for own in ["api-1.env", "api-2.env"] {
        let config = Config::load(None, environment(&["holdfast.env", "api.env", own])).unwrap();
        assert!(nginx.contains(&format!("server {} ", config.listen)), "{own}");
        assert!(config.trusted_proxies[0].contains(config.listen.ip()));
        ports.extend([config.listen.port(), config.metrics_listen.port()]);
    }
    for own in ["worker-1.env", "worker-2.env"] {
        let config = Config::load(None, environment(&["holdfast.env", "worker.env", own])).unwrap();
        assert!(config.redis_url.expose().contains("holdfast-worker:"));
        ports.push(config.worker_listen.port());
    }
    let all = ports.len();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), all, "two processes of one machine share a port");
}

#[test]
fn units_read_those_files_and_leave_time_to_end() {
    for program in ["api", "worker"] {
        let unit = file(&format!("deploy/systemd/holdfast-{program}@.service"));
        for needed in [
            "EnvironmentFile=/etc/holdfast/holdfast.env".to_owned(),
            format!("EnvironmentFile=-/etc/holdfast/{program}.env"),
            format!("EnvironmentFile=-/etc/holdfast/{program}-%i.env"),
            format!("ExecStart=/usr/local/bin/holdfast-{program}"),
        ] {
            assert!(unit.lines().any(|line| line == needed), "{program}: {needed}");
        }
        let stop = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
        let config = Config::load(None, environment(&["holdfast.env"])).unwrap();
        let needed_ms = config.shutdown_notice_ms + config.shutdown_seconds * 1_000;
        assert!(stop.parse::<u64>().unwrap() * 1_000 > needed_ms, "{program}");
    }
}

#[test]
fn links_of_the_page_lead_to_sections() {
    let anchors = |page: &str| -> Vec<String> {
        let headings = file(page);
        let headings = headings.lines().filter(|line| line.starts_with('#'));
        let is_kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let anchor = |line: &str| -> String {
            let words = line.trim_start_matches('#').trim().to_lowercase();
            words.chars().filter(is_kept).collect::<String>().replace(' ', "-")
        };
        headings.map(anchor).collect()
    };
    let page = file("docs/DEPLOYMENT.md");
    let targets = page.match_indices("](").map(|(at, _)| page[at + 2..].split(')').next().unwrap());
    for target in targets {
        let (name, anchor) = target.split_once('#').unwrap_or((target, ""));
        let name = if name.is_empty() { "DEPLOYMENT.md" } else { name };
        let found = anchors(&format!("docs/{name}"));
        assert!(anchor.is_empty() || found.contains(&anchor.to_owned()), "{target}: {found:?}");
    }
}
