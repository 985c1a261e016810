//! Settings with secrets, well-formed and malformed, from the environment and from a file.

use std::path::PathBuf;

use holdfast::config::Config;
use proptest::prelude::*;

use crate::support::servers::state_dir;
use crate::support::unique_name;

/// Characters that end a part of a URL, a text in TOML or an item of a list.
const SEPARATORS: [&str; 16] =
    ["@", ":", "/", "#", "?", "&", "%", "=", "+", ",", " ", "\"", "\\", "[{", "://", "%zz"];

/// A secret: words that appear nowhere else, with separators between them.
#[derive(Clone, Debug)]
struct Secret {
    words: Vec<String>,
    separators: Vec<&'static str>,
}

impl Secret {
    fn text(&self) -> String {
        let mut text = String::new();
        for (index, word) in self.words.iter().enumerate() {
            text.push_str(if index == 0 { "" } else { self.separators[index - 1] });
            text.push_str(word);
        }
        text
    }

    /// Percent-encoded as a URL needs it.
    fn encoded(&self) -> String {
        let encode = |byte: u8| match byte {
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        };
        self.text().bytes().map(encode).collect()
    }

    fn assert_absent(&self, shown: &str, source: &str) {
        let shown_lower = shown.to_lowercase();
        for word in &self.words {
            assert!(!shown_lower.contains(word), "{source:?} shows {word:?}: {shown}");
        }
    }
}

fn secret() -> impl Strategy<Value = Secret> {
    let word = "[xqzj][0-9]{3}[xqzj]{2}[0-9]{2}";
    let separator = prop::sample::select(SEPARATORS.to_vec());
    (prop::collection::vec(word, 1..4), prop::collection::vec(separator, 3))
        .prop_map(|(words, separators)| Secret { words, separators })
}

/// Settings that hold a secret, with it in every place where one may be, or may be put by mistake.
fn placements(secret: &Secret) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    for text in [secret.text(), secret.encoded()] {
        let mut put = |name, value: String| all.push((name, value));
        for scheme in
            ["redis", "rediss", "redis-cluster", "valkeys", "redis-sentinel", "redis+unix"]
        {
            put("redis_url", format!("{scheme}://app:{text}@h:6379"));
            put("redis_url", format!("{scheme}://:{text}@h:6379/0?node=h:2"));
            put("redis_url", format!("{scheme}://{text}@h"));
            put("redis_url", format!("{scheme}://{text}:pw@h/sock"));
        }
        let sentinel = "redis-sentinel://h:1?sentinelServiceName=main";
        for parameter in ["sentinelPassword", "sentinelUsername", "sentinelpassword", "password"] {
            put("redis_url", format!("{sentinel}&{parameter}={text}"));
            put("redis_url", format!("{sentinel}&sentinelPassword={text}&{parameter}={text}"));
            put("redis_url", format!("redis://h:6379?{parameter}={text}"));
        }
        put("redis_url", text.clone());
        put("redis_url", format!("redis:/:{text}@h"));
        put("redis_url", format!("{text}://h"));
        for scheme in ["mongodb", "mongodb+srv"] {
            put("mongodb_url", format!("{scheme}://app:{text}@h.example.com/?replicaSet=rs0"));
            put("mongodb_url", format!("{scheme}://app:{text}@a.example:1,b.example:2/db"));
            put("mongodb_url", format!("{scheme}://{text}@h.example.com"));
            for parameter in [
                "tlsCertificateKeyFilePassword",
                "tlscertificatekeyfilepassword",
                "proxyPassword",
                "proxyUsername",
                "authMechanismProperties",
                "password",
            ] {
                let options = format!("authMechanism=MONGODB-X509&{parameter}={text}");
                put("mongodb_url", format!("{scheme}://h.example.com/?{options}"));
            }
            let token = format!("authMechanismProperties=AWS_SESSION_TOKEN:{text}");
            put("mongodb_url", format!("{scheme}://h.example.com/?{token}"));
        }
        put("mongodb_url", text.clone());
        put("stripe_url", format!("https://app:{text}@stripe.example"));
        put("stripe_url", format!("https://stripe.example/?key={text}"));
        put("stripe_url", format!("http://{text}@127.0.0.1:1"));
        put("stripe_url", text.clone());
        put("stripe_secret_key", text.clone());
        put("payment_webhook_secret", text.clone());
        let hash = "ab".repeat(32);
        put("admin_keys_sha256", format!("ops:{text}"));
        put("admin_keys_sha256", format!("ops:{hash},{text}"));
        put("admin_keys_sha256", text.clone());
        put("admin_keys_sha256", format!("[{{ name = \"{text}\" }}]"));
        put("token_secrets", format!("k1:{text}"));
        put("token_secrets", format!("{text}:{text}"));
        put("token_secrets", format!("{text}:{hash},{text}:{hash}"));
        put("token_secrets", text.clone());
        put("token_secrets", format!("[{{ id = \"{text}\" }}]"));
        // The secret in place of its file.
        put("jwt_key_files", text.clone());
        put("redis_tls_key_file", text.clone());
        put("redis_tls_key_file", format!("-----BEGIN PRIVATE KEY-----\n{text}"));
        // A setting with a secret in place of one without.
        put("redis_namespace", format!("redis://:{text}@h"));
        put("log_level", format!("mongodb://app:{text}@h"));
        put("partitions", format!("redis://:{text}@h"));
    }
    all
}

/// Everything that these settings make Holdfast show.
fn shown(result: Result<Config, holdfast::config::ConfigError>) -> String {
    match result {
        Ok(config) => {
            let urls = format!("{} {} {}", config.redis_url, config.mongodb_url, config.stripe_url);
            format!("{urls}\n{config:?}\n{}", config.to_commented_toml())
        }
        Err(error) => format!("{error}\n{error:?}"),
    }
}

fn from_environment(name: &str, value: &str) -> String {
    let variable = format!("HOLDFAST_{}", name.to_uppercase());
    shown(Config::load(None, [(variable, value.to_owned())]))
}

fn from_file(path: &PathBuf, text: &str) -> String {
    std::fs::write(path, text).unwrap();
    shown(Config::load(Some(path), []))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, ..ProptestConfig::default() })]

    #[test]
    fn secret_is_in_no_output_of_any_setting(secret in secret()) {
        let path = state_dir().join(unique_name()).with_extension("toml");
        for (name, value) in placements(&secret) {
            secret.assert_absent(&from_environment(name, &value), &format!("{name}={value}"));
            let quoted = toml_text(&value);
            let sources = [
                format!("{name} = {quoted}\n"),
                format!("{name} = [{quoted}]\n"),
                format!("{name} = {{ value = {quoted} }}\n"),
                // Slips: no quotes, one quote, no sign, twice, with more behind it.
                format!("{name} = {value}\n"),
                format!("{name} = \"{value}\n"),
                format!("{name} {quoted}\n"),
                format!("{name} = {quoted}\n{name} = {quoted}\n"),
                format!("{name} = {quoted} x\n"),
                format!("{name} = {quoted}\npartitions = \"four\"\n"),
            ];
            for source in sources {
                secret.assert_absent(&from_file(&path, &source), &source);
            }
        }
    }
}

fn toml_text(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}
