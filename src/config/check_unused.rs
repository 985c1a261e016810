//! Refuses settings without effect, and secrets that are probably mistaken.

use crate::domain::admission_token::SECRET_BYTES_MIN;

use super::fields::Config;
use super::values::{Auth, PaymentProvider, Secret};

impl Config {
    /// Refuses settings that are set and would be ignored. A setting equal to its default cannot be
    /// distinguished from an absent one.
    pub(super) fn check_unused(&self, faults: &mut Vec<String>) {
        let mut unused = |is_set: bool, name: &str, why: &str| {
            if is_set {
                faults.push(format!("{name} has no effect with {why}, or leave it out"));
            }
        };
        let is_trusted = self.auth == Auth::Trusted;
        let trusted = "auth = \"trusted\", which uses no token: set auth = \"jwt\"";
        unused(is_trusted && !self.jwt_key_files.is_empty(), "jwt_key_files", trusted);
        unused(is_trusted && !self.jwt_audience.is_empty(), "jwt_audience", trusted);
        unused(is_trusted && !self.jwt_issuer.is_empty(), "jwt_issuer", trusted);
        let is_simulated = self.payment_provider == PaymentProvider::Simulated;
        let simulated = "payment_provider = \"simulated\", which moves no money: set \"stripe\"";
        unused(is_simulated && !self.stripe_secret_key.is_empty(), "stripe_secret_key", simulated);
        let stripe = "payment_provider = \"stripe\": set \"simulated\"";
        for (name, value) in [
            ("simulated_latency_ms", self.simulated_latency_ms),
            ("simulated_decline_percent", self.simulated_decline_percent.into()),
            ("simulated_timeout_percent", self.simulated_timeout_percent.into()),
            ("simulated_error_percent", self.simulated_error_percent.into()),
        ] {
            unused(!is_simulated && value > 0, name, stripe);
        }
        let defaults = Config::default();
        let is_silent = self.otlp_url.expose().is_empty();
        let silent = "otlp_url = \"\", which exports no traces: set it";
        for (name, value, default) in [
            (
                "trace_sample_per_million",
                self.trace_sample_per_million,
                defaults.trace_sample_per_million,
            ),
            (
                "trace_caller_per_second",
                self.trace_caller_per_second,
                defaults.trace_caller_per_second,
            ),
        ] {
            unused(is_silent && value != default, name, silent);
        }
    }

    /// A trailing newline is usually not part of the secret; a short secret can be guessed from one
    /// signed webhook.
    pub(super) fn check_secrets(&self, faults: &mut Vec<String>) {
        let bytes = self.payment_webhook_secret.expose().len();
        if (1..SECRET_BYTES_MIN).contains(&bytes) {
            faults.push(format!(
                "payment_webhook_secret has {bytes} bytes; it needs {SECRET_BYTES_MIN} at least \
                 (openssl rand -hex 32; the provider's own are longer)"
            ));
        }
        let single = [
            ("stripe_secret_key", &self.stripe_secret_key),
            ("payment_webhook_secret", &self.payment_webhook_secret),
        ];
        let all = single.into_iter().chain(self.token_secrets.iter().map(|s| ("token_secrets", s)));
        for (name, _) in all.filter(|(_, secret)| has_blanks(secret)) {
            faults.push(format!(
                "{name}: the secret begins or ends with white space, such as a line's end: take it \
                 away"
            ));
        }
    }
}

fn has_blanks(secret: &Secret) -> bool {
    secret.expose().trim() != secret.expose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_without_effect_is_refused() {
        type Set = fn(&mut Config);
        let cases: [(Set, &str); 8] = [
            (|c| c.jwt_key_files = vec!["/key".into()], "jwt_key_files has no effect"),
            (|c| c.jwt_audience = "tickets".into(), "jwt_audience has no effect"),
            (|c| c.jwt_issuer = "https://login".into(), "set auth = \"jwt\", or leave it out"),
            (|c| c.stripe_secret_key = "sk_hunter2".into(), "which moves no money: set \"stripe\""),
            (
                |c| {
                    c.payment_provider = PaymentProvider::Stripe;
                    c.stripe_secret_key = "sk_hunter2".into();
                    c.simulated_decline_percent = 1;
                },
                "simulated_decline_percent has no effect",
            ),
            (
                |c| c.payment_webhook_secret = "whsec_hunter2_hunter2_hunter2_hunter2\n".into(),
                "begins or ends",
            ),
            (|c| c.payment_webhook_secret = "whsec_hunter2".into(), "has 13 bytes; it needs 32"),
            (|c| c.payment_webhook_secret = "h".into(), "has 1 bytes"),
        ];
        for (set, expected) in cases {
            let mut config = Config::default();
            set(&mut config);
            let message = config.check().unwrap_err().0;
            assert!(message.contains(expected) && !message.contains("hunter2"), "{message}");
            assert!(!message.contains('\n'), "one fault, one line: {message}");
        }
    }
}
