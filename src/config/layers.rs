//! Reading the sources: a TOML file and the environment, each refused as a whole if anything in
//! it is unknown or unreadable, with the name and the nearest known one.

use std::path::Path;

use serde::Deserialize;

use super::fields::{Config, FIELDS, Layer};

/// What a variable's name begins with.
const PREFIX: &str = "HOLDFAST_";
/// The variable that names the settings file.
pub(super) const FILE_VARIABLE: &str = "HOLDFAST_CONFIG";
/// Edits up to which a name counts as misspelt rather than foreign.
const EDITS_MAX: usize = 3;

/// Settings that cannot be used; the text says which and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

impl Config {
    /// Reads the settings from a file (if any) and the environment above it, and checks them.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut config = Config::default();
        if let Some(path) = file {
            let shown = path.display();
            let text = std::fs::read_to_string(path)
                .map_err(|error| ConfigError(format!("cannot read {shown}: {error}")))?;
            let layer =
                file_layer(&text).map_err(|error| ConfigError(format!("{shown}: {error}")))?;
            layer.apply(&mut config);
        }
        environment_layer(environment)?.apply(&mut config);
        config.check()?;
        Ok(config)
    }
}

fn file_layer(text: &str) -> Result<Layer, String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    if let Some(name) = table.keys().find(|name| field_index(name).is_none()) {
        return Err(unknown(name, name, ""));
    }
    // Read again from the text rather than the table: these errors point at the line.
    toml::from_str(text).map_err(|error| error.to_string())
}

fn environment_layer(
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Layer, ConfigError> {
    let shown = Config::default().shown();
    let mut table = toml::Table::new();
    for (variable, text) in environment {
        let Some(name) = variable.strip_prefix(PREFIX) else { continue };
        if variable == FILE_VARIABLE {
            continue;
        }
        let name = name.to_ascii_lowercase();
        let index =
            field_index(&name).ok_or_else(|| ConfigError(unknown(&variable, &name, PREFIX)))?;
        let value = parse_like(&shown[index], &text)
            .map_err(|reason| ConfigError(format!("{variable}={text:?}: {reason}")))?;
        // Each alone first, so that the message can name the variable.
        let alone = toml::Table::from_iter([(name.clone(), value.clone())]);
        Layer::deserialize(alone).map_err(|error| {
            let reason = error.message().to_owned();
            ConfigError(format!("{variable}={text:?}: {reason}"))
        })?;
        table.insert(name, value);
    }
    Layer::deserialize(table).map_err(|error| ConfigError(error.message().to_owned()))
}

fn field_index(name: &str) -> Option<usize> {
    FIELDS.iter().position(|field| field.name == name)
}

/// Reads a variable's text as the kind of value its default is; lists are split at commas, but
/// `[{…}]`, which is read as TOML.
fn parse_like(default: &toml::Value, text: &str) -> Result<toml::Value, &'static str> {
    Ok(match default {
        toml::Value::Integer(_) => {
            toml::Value::Integer(text.trim().parse().map_err(|_| "not a whole number")?)
        }
        toml::Value::Boolean(_) => {
            toml::Value::Boolean(text.trim().parse().map_err(|_| "neither true nor false")?)
        }
        // Lists of more than texts are written as TOML has them.
        toml::Value::Array(_) if text.trim_start().starts_with("[{") => {
            let table: toml::Table = format!("value = {text}").parse().map_err(|_| "not TOML")?;
            table.into_iter().map(|(_, value)| value).next().ok_or("not TOML")?
        }
        toml::Value::Array(_) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            toml::Value::Array(items.map(|item| toml::Value::String(item.to_owned())).collect())
        }
        _ => toml::Value::String(text.to_owned()),
    })
}

/// The message for an unknown name, with the nearest known one where it looks misspelt.
fn unknown(shown: &str, name: &str, prefix: &str) -> String {
    let nearest = FIELDS
        .iter()
        .map(|field| (edit_distance(name, field.name), field.name))
        .min()
        .filter(|(edits, _)| *edits <= EDITS_MAX);
    match nearest {
        Some((_, known)) => {
            let known =
                if prefix.is_empty() { known.to_owned() } else { known.to_ascii_uppercase() };
            format!("unknown setting {shown}; did you mean {prefix}{known}?")
        }
        None => format!("unknown setting {shown}; --print-config lists all there are"),
    }
}

/// Levenshtein distance: insertions, deletions and replacements that make one text the other.
fn edit_distance(a: &str, b: &str) -> usize {
    let b = b.as_bytes();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, byte_a) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, byte_b) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(byte_a != *byte_b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_environment(pairs: &[(&str, &str)]) -> Result<Config, String> {
        let pairs = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        Config::load(None, pairs).map_err(|error| error.0)
    }

    #[test]
    fn the_environment_is_read() {
        let config = from_environment(&[
            ("PATH", "/bin"),
            ("HOLDFAST_LISTEN", "127.0.0.1:9000"),
            ("HOLDFAST_PARTITIONS", "4"),
            ("HOLDFAST_TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1"),
            ("HOLDFAST_REDIS_PERSISTENCE", "refuse"),
        ])
        .unwrap();
        assert_eq!((config.listen.port(), config.partitions), (9000, 4));
        assert_eq!(config.trusted_proxies.len(), 2);
        assert_eq!(config.redis_persistence, super::super::values::OnRisk::Refuse);
        assert_eq!(config.worker_listen, Config::default().worker_listen);
    }

    #[test]
    fn what_is_misspelt_is_named() {
        let cases = [
            (("HOLDFAST_LISTENS", "x"), "did you mean HOLDFAST_LISTEN?"),
            (("HOLDFAST_FROBNICATE", "x"), "unknown setting HOLDFAST_FROBNICATE; --print-config"),
            (("HOLDFAST_PARTITIONS", "many"), "HOLDFAST_PARTITIONS=\"many\": not a whole number"),
            (("HOLDFAST_PARTITIONS", "70000"), "HOLDFAST_PARTITIONS=\"70000\": "),
            (("HOLDFAST_LISTEN", "8000"), "HOLDFAST_LISTEN=\"8000\": "),
            (("HOLDFAST_REDIS_EVICTION", "shrug"), "expected one of `warn`, `refuse`, `ignore`"),
        ];
        for (pair, expected) in cases {
            let message = from_environment(&[pair]).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn files_are_read_and_refused_by_name_and_line() {
        let mut config = Config::default();
        file_layer("partitions = 8\nlog_format = \"text\"").unwrap().apply(&mut config);
        assert_eq!(config.partitions, 8);
        let error = file_layer("partition = 8").err().unwrap();
        assert_eq!(error, "unknown setting partition; did you mean partitions?");
        let error = file_layer("\npartitions = \"8\"").err().unwrap();
        assert!(error.contains("line 2"), "{error}");
        let missing = Config::load(Some(Path::new("no-such-file.toml")), []).unwrap_err();
        assert!(missing.0.contains("cannot read no-such-file.toml"), "{missing}");
    }

    #[test]
    fn distances_are_right() {
        let cases = [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("listens", "listen", 1)];
        for (a, b, edits) in cases {
            assert_eq!(edit_distance(a, b), edits);
        }
    }
}
