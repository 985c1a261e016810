//! The secrets of the settings as they are, for a search in what is about to leave the machine.

use super::Config;
use crate::secrets::{Secret, ServiceUrl};

/// Shorter values are not searched for: they would be found in anything.
const BYTES_MIN: usize = 6;

impl Config {
    /// Every secret value: keys, passwords in URLs as they are written and decoded, hashes of admin
    /// keys. For masking; never for display.
    pub fn secret_values(&self) -> Vec<String> {
        let mut values = Vec::new();
        let mut add = |text: &str| {
            if text.len() >= BYTES_MIN && !values.iter().any(|known| known == text) {
                values.push(text.to_owned());
            }
        };
        for secret in [&self.stripe_secret_key, &self.payment_webhook_secret] {
            add(secret.expose());
        }
        for secret in &self.token_secrets {
            add(Secret::expose(secret));
            add(secret.expose().split_once(':').map_or("", |(_, secret)| secret));
        }
        for key in &self.admin_keys_sha256 {
            add(&key.sha256.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        }
        for url in [&self.redis_url, &self.mongodb_url, &self.stripe_url] {
            passwords(url).iter().for_each(|password| add(password));
        }
        values
    }
}

/// The password in a URL, decoded and as it is written.
fn passwords(url: &ServiceUrl) -> Vec<String> {
    let decoded = url.parsed().ok().and_then(|parsed| parsed.password);
    let text = url.expose();
    let written = text.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@'));
    let written = written.and_then(|(info, _)| info.split_once(':')).map(|(_, word)| word);
    decoded
        .map(|password| password.expose().to_owned())
        .into_iter()
        .chain(written.map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_secret_is_listed() {
        let config = Config {
            redis_url: "redis://app:p%40ssword@h".into(),
            mongodb_url: "mongodb://u:hunter2x@h".into(),
            stripe_secret_key: "sk_live_1".into(),
            token_secrets: vec!["k1:0123456789".into()],
            ..Config::default()
        };
        let values = config.secret_values();
        for expected in ["p%40ssword", "p@ssword", "hunter2x", "sk_live_1", "0123456789"] {
            assert!(values.iter().any(|value| value == expected), "{expected}: {values:?}");
        }
    }
}
