//! `--print-config`: prints the settings in effect as a documented TOML file.

use std::fmt::Write;

use super::fields::{Config, FIELDS};

/// Settings for tests: known, but not printed.
const HIDDEN: [&str; 2] = ["worker_fault_point", "api_fault_point"];

impl Config {
    /// Formats the settings as TOML with their documentation and defaults; passwords and key hashes
    /// are masked.
    pub fn to_commented_toml(&self) -> String {
        let defaults = Config::default().shown();
        let mut text = String::from(
            "# Settings of Holdfast. Each can also be given as HOLDFAST_ and its name in capitals;\n\
             # the environment overrides the file. SIGHUP and `holdfastctl reload` read it again.\n",
        );
        let fields = FIELDS.iter().zip(self.shown()).zip(defaults);
        for ((field, value), default) in fields.filter(|all| !HIDDEN.contains(&all.0.0.name)) {
            text.push('\n');
            for line in field.doc {
                text.push('#');
                text.push_str(line);
                text.push('\n');
            }
            if field.is_reloadable {
                text.push_str("# A reload applies a change.\n");
            }
            // Writing to a String cannot fail.
            let _ = writeln!(text, "# Default: {default}");
            let _ = writeln!(text, "{} = {value}", field.name);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_settings_can_be_read_again() {
        let printed = Config::default().to_commented_toml();
        let table: toml::Table = printed.parse().unwrap();
        assert_eq!(table.len(), FIELDS.len() - HIDDEN.len());
        assert!(printed.contains("# Default: \"127.0.0.1:8000\"\nlisten = \"127.0.0.1:8000\""));
    }

    #[test]
    fn secrets_are_masked() {
        let key = format!("ops:{}", "ab".repeat(32));
        let config = Config {
            redis_url: "redis://:hunter2@h".into(),
            admin_keys_sha256: vec![key.parse().unwrap()],
            stripe_secret_key: "sk_hunter2".into(),
            payment_webhook_secret: "whsec_hunter2".into(),
            token_secrets: vec!["k1:hunter2".into()],
            ..Config::default()
        };
        for shown in [config.to_commented_toml(), format!("{config:?}")] {
            assert!(!shown.contains("hunter2") && !shown.contains("abab"), "{shown}");
        }
    }
}
