//! Removes from a text what must not leave the machine.

use crate::config::Config;

/// In place of what was removed.
const MASK: &str = "***";
/// Lines of Redis' INFO that name paths and hosts of the machine.
const INFO_LEFT_OUT: [&str; 8] = [
    "executable:",
    "config_file:",
    "run_id:",
    "master_replid",
    "master_host:",
    "slave",
    "tcp_port:",
    "listener",
];

/// Replaces every secret of the settings. Each part is built without any: this is the second line.
pub(super) fn without_secrets(text: &str, secrets: &[String]) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), MASK))
}

/// The secrets of the settings, longest first: one may contain another.
pub(super) fn secrets_of(config: &Config) -> Vec<String> {
    let mut secrets = config.secret_values();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

/// The lines of Redis' INFO that say nothing about paths and hosts.
pub(super) fn redis_info(info: &str) -> String {
    let is_kept = |line: &&str| !INFO_LEFT_OUT.iter().any(|prefix| line.starts_with(prefix));
    info.lines().filter(is_kept).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_paths_are_removed() {
        let config = Config { stripe_secret_key: "sk_live_secret".into(), ..Config::default() };
        let secrets = secrets_of(&config);
        assert_eq!(without_secrets("a sk_live_secret b", &secrets), "a *** b");
        let info = "redis_version:7.0.15\r\nexecutable:/home/ann/redis\r\nslave0:ip=10.0.0.1\r\n";
        assert_eq!(redis_info(info), "redis_version:7.0.15\n");
    }
}
