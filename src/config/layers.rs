//! Reads the sources: a TOML file and the environment. Each is refused as a whole if anything in it
//! is unknown or unreadable, with the name and the nearest known one.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::fields::{Config, FIELDS, Layer};
use crate::secrets::quoted;
use crate::spelling::nearest;
use crate::telemetry::LogFormat;

/// Prefix of the variables.
const PREFIX: &str = "HOLDFAST_";
/// The variable that names the settings file.
pub(super) const FILE_VARIABLE: &str = "HOLDFAST_CONFIG";
/// Whether a variable is one of Holdfast's.
pub(super) fn is_setting(variable: &str) -> bool {
    variable.starts_with(PREFIX)
}

/// Unusable settings; the text says which and how to correct them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

impl Config {
    /// Reads the settings from a file (if any) and the environment above it, and checks them.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        Loaded::read(file, environment).map(|loaded| loaded.config)
    }
}

/// The format of log lines by a variable's text and a file's, neither of which need be usable.
pub(super) fn log_format(variable: Option<String>, file: Option<String>) -> LogFormat {
    let of_file =
        || file?.parse::<toml::Table>().ok()?.get("log_format")?.as_str().map(String::from);
    let parse = |text: String| LogFormat::deserialize(toml::Value::String(text)).ok();
    variable.or_else(of_file).and_then(parse).unwrap_or(Config::default().log_format)
}

/// Settings as they were read.
#[derive(Debug)]
pub struct Loaded {
    /// The settings in effect.
    pub config: Config,
    /// Settings of the file that a variable overrides.
    pub overridden: Vec<&'static str>,
}

impl Loaded {
    /// Reads the settings from a file (if any) and the environment above it, and checks them.
    ///
    /// # Errors
    /// Lists all faults, one a line, those of the file with their lines.
    pub fn read(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut config = Config::default();
        let mut faults = Vec::new();
        let (mut lines, mut shown) = (Lines::new(), String::new());
        if let Some(path) = file {
            shown = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .map_err(|error| ConfigError(format!("cannot read {shown}: {error}")))?;
            let (layer, found, in_file) = file_layer(&text);
            layer.apply(&mut config);
            lines = found;
            faults.extend(in_file.iter().map(|fault| format!("{shown}: {fault}")));
        }
        let mut overridden = Vec::new();
        match environment_layer(environment) {
            Ok((layer, names)) => {
                layer.apply(&mut config);
                overridden = names.into_iter().filter(|name| lines.contains_key(name)).collect();
            }
            Err(found) => faults.extend(found),
        }
        lines.retain(|name, _| !overridden.contains(name));
        let are_all_read = faults.is_empty();
        faults.extend(config.faults().into_iter().filter_map(|fault| {
            match line_of(&lines, &fault) {
                Some(line) => Some(format!("{shown}: line {line}: {fault}")),
                // Settings that could not be read have their defaults here, which are not at fault.
                None => Some(fault).filter(|_| are_all_read),
            }
        }));
        match faults.is_empty() {
            true => Ok(Loaded { config, overridden }),
            false => Err(ConfigError(faults.join("\n"))),
        }
    }
}

/// The lines of a file's settings.
type Lines = BTreeMap<&'static str, usize>;

/// The line of the setting that a fault begins with, if it is in the file.
fn line_of(lines: &Lines, fault: &str) -> Option<usize> {
    let end = fault.find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'))?;
    lines.get(&fault[..end]).copied()
}

/// Parses a file: what can be used of it, and all faults. Messages name the line and never show it: it
/// may contain a secret.
fn file_layer(text: &str) -> (Layer, Lines, Vec<String>) {
    type Table = BTreeMap<Spanned<String>, Spanned<toml::Value>>;
    let table: Table = match toml::from_str(text) {
        Ok(table) => table,
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            let fault = format!("line {}: {}", line(text, at), syntax_fault(&error));
            return (Layer::default(), Lines::new(), vec![fault]);
        }
    };
    let shown = Config::default().shown();
    let (mut whole, mut lines, mut faults) = (toml::Table::new(), Lines::new(), Vec::new());
    for (name, value) in table {
        let at = line(text, value.span().start);
        let (name, value) = (name.into_inner(), value.into_inner());
        let Some(index) = field_index(&name) else {
            faults.push((at, format!("line {at}: {}", unknown(&name, &name, ""))));
            continue;
        };
        match check_alone(index, &shown[index], &value) {
            Ok(()) => {
                lines.insert(FIELDS[index].name, at);
                whole.insert(name, value);
            }
            Err(reason) => faults.push((at, format!("line {at}: {name}: {reason}"))),
        }
    }
    faults.sort();
    let mut faults: Vec<String> = faults.into_iter().map(|(_, fault)| fault).collect();
    let layer = Layer::deserialize(whole).unwrap_or_else(|error| {
        faults.push(error.message().to_owned());
        Layer::default()
    });
    (layer, lines, faults)
}

/// The fault in a file's syntax. Most of the parser's messages show what it expected; those that show
/// what it found are replaced.
fn syntax_fault(error: &toml::de::Error) -> &str {
    let message = error.message();
    if message.contains(['`', '"', '\'']) {
        "this is no TOML, or a name is there twice"
    } else {
        message
    }
}

/// The number of the line with this byte.
fn line(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

fn environment_layer(
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<(Layer, Vec<&'static str>), Vec<String>> {
    let shown = Config::default().shown();
    let (mut table, mut names, mut faults) = (toml::Table::new(), Vec::new(), Vec::new());
    for (variable, text) in environment {
        let Some(name) = variable.strip_prefix(PREFIX) else { continue };
        if variable == FILE_VARIABLE {
            continue;
        }
        let name = name.to_ascii_lowercase();
        let Some(index) = field_index(&name) else {
            faults.push(unknown(&variable, &name, PREFIX));
            continue;
        };
        let fault = |reason: String| {
            let is_secret = FIELDS[index].is_secret();
            let value = if is_secret { String::new() } else { format!("={}", quoted(&text)) };
            format!("{variable}{value}: {reason}")
        };
        let value = parse_like(&shown[index], &text).map_err(str::to_owned);
        let value = value.and_then(|value| {
            check_alone(index, &shown[index], &value)?;
            Ok(value)
        });
        match value.map(|value| table.insert(name, value)) {
            Ok(None) => names.push(FIELDS[index].name),
            Ok(Some(_)) => faults.push(format!("{variable} is there twice, in other capitals")),
            Err(reason) => faults.push(fault(reason)),
        }
    }
    if !faults.is_empty() {
        faults.sort();
        return Err(faults);
    }
    let layer = Layer::deserialize(table).map_err(|error| vec![error.message().to_owned()])?;
    Ok((layer, names))
}

/// Checks one setting's value alone, so that the message can name it. For a secret the message says
/// what is expected, and nothing of the value.
fn check_alone(index: usize, default: &toml::Value, value: &toml::Value) -> Result<(), String> {
    let field = &FIELDS[index];
    let alone = toml::Table::from_iter([(field.name.to_owned(), value.clone())]);
    let Err(error) = Layer::deserialize(alone) else { return Ok(()) };
    if !field.is_secret() && !value.to_string().contains("://") {
        return Err(error.message().to_owned());
    }
    let is_text = |value: &toml::Value| value.is_str();
    match (default, value) {
        // The type is right, so the message is this crate's own, which shows no value.
        (toml::Value::String(_), toml::Value::String(_)) => Err(error.message().to_owned()),
        (toml::Value::Array(_), toml::Value::Array(items)) if items.iter().all(is_text) => {
            Err(error.message().to_owned())
        }
        (toml::Value::Array(_), _) => Err("must be a list of texts: [\"…\", \"…\"]".to_owned()),
        (toml::Value::String(_), _) => Err("must be a text: \"…\"".to_owned()),
        _ => Err(format!("must be of the kind of its default, {default}")),
    }
}

fn field_index(name: &str) -> Option<usize> {
    FIELDS.iter().position(|field| field.name == name)
}

/// Parses a variable's text as a value of the default's type; lists are split at commas, except
/// `[{…}]`, which is parsed as TOML.
fn parse_like(default: &toml::Value, text: &str) -> Result<toml::Value, &'static str> {
    Ok(match default {
        toml::Value::Integer(_) => {
            toml::Value::Integer(text.trim().parse().map_err(|_| "not a whole number")?)
        }
        toml::Value::Boolean(_) => {
            toml::Value::Boolean(text.trim().parse().map_err(|_| "neither true nor false")?)
        }
        // Lists of tables are written as TOML.
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

/// The message for an unknown name, with the nearest known one if it looks misspelt.
fn unknown(shown: &str, name: &str, prefix: &str) -> String {
    match nearest(name, FIELDS.iter().map(|field| field.name)) {
        Some(known) => {
            let known =
                if prefix.is_empty() { known.to_owned() } else { known.to_ascii_uppercase() };
            format!("unknown setting {shown}; did you mean {prefix}{known}?")
        }
        None if looks_like_a_setting(name) => {
            format!("unknown setting {shown}; --print-config lists all there are")
        }
        // It may be a misplaced secret.
        None => "unknown setting, whose name does not look like one and is not shown; \
            --print-config lists all there are"
            .to_owned(),
    }
}

/// Whether a name consists of words like settings' names: secrets have digits or capitals.
fn looks_like_a_setting(name: &str) -> bool {
    const NAME_BYTES_MAX: usize = 48;
    name.len() <= NAME_BYTES_MAX
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_name_that_may_be_a_secret_is_not_shown() {
        for line in ["sk_live_4eC39HqLyjWDarjtT1zdp7dc = 1", "\"whsec hunter2\" = 1", "k9 = 1"] {
            let error = faults(&format!("partitions = 8\n{line}"));
            assert!(error.starts_with("line 2: unknown setting, whose name"), "{error}");
            let name = line.split('=').next().unwrap().trim().trim_matches('"');
            assert!(!error.contains(name), "{error}");
        }
        let error = from_environment(&[("HOLDFAST_SK_LIVE_4EC39", "1")]).unwrap_err();
        assert!(!error.to_lowercase().contains("sk_live"), "{error}");
    }

    fn faults(text: &str) -> String {
        file_layer(text).2.join("\n")
    }

    fn from_environment(pairs: &[(&str, &str)]) -> Result<Config, String> {
        let pairs = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        Config::load(None, pairs).map_err(|error| error.0)
    }

    #[test]
    fn environment_is_read() {
        let config = from_environment(&[
            ("PATH", "/bin"),
            ("HOLDFAST_LISTEN", "127.0.0.1:9000"),
            ("HOLDFAST_PARTITIONS", "4"),
            ("HOLDFAST_TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1"),
            ("HOLDFAST_IDENTITY_PROXIES", "127.0.0.1"),
            ("HOLDFAST_REDIS_PERSISTENCE", "refuse"),
        ])
        .unwrap();
        assert_eq!((config.listen.port(), config.partitions), (9000, 4));
        assert_eq!(config.trusted_proxies.len(), 2);
        assert_eq!(config.redis_persistence, super::super::values::OnRisk::Refuse);
        assert_eq!(config.worker_listen, Config::default().worker_listen);
    }

    #[test]
    fn misspelt_setting_is_named_with_a_hint() {
        let cases = [
            (("HOLDFAST_LISTENS", "x"), "did you mean HOLDFAST_LISTEN?"),
            (("HOLDFAST_FROBNICATE", "x"), "unknown setting HOLDFAST_FROBNICATE; --print-config"),
            (("HOLDFAST_PARTITIONS", "many"), "HOLDFAST_PARTITIONS=\"many\": not a whole number"),
            (("HOLDFAST_PARTITIONS", "70000"), "HOLDFAST_PARTITIONS=\"70000\": "),
            (("HOLDFAST_LISTEN", "8000"), "HOLDFAST_LISTEN=\"8000\": "),
            (("HOLDFAST_REDIS_EVICTION", "shrug"), "expected one of `warn`, `refuse`, `ignore`"),
        ];
        let twice = [("HOLDFAST_LISTEN", "127.0.0.1:1"), ("HOLDFAST_listen", "127.0.0.1:2")];
        assert!(from_environment(&twice).unwrap_err().contains("is there twice"));
        for (pair, expected) in cases {
            let message = from_environment(&[pair]).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn log_format_is_found_beside_faults() {
        let text = |text: &str| Some(text.to_owned());
        let file = || text("log_format = \"text\"\nfrobnicate = 1");
        assert_eq!(log_format(None, None), LogFormat::Json);
        assert_eq!(log_format(None, file()), LogFormat::Text);
        assert_eq!(log_format(text("json"), file()), LogFormat::Json);
        assert_eq!(log_format(text("yaml"), None), LogFormat::Json);
        assert_eq!(log_format(None, text("log_format = \"text\"\n[")), LogFormat::Json);
    }

    #[test]
    fn file_is_read_and_refused_by_name_and_line() {
        let mut config = Config::default();
        file_layer("partitions = 8\nlog_format = \"text\"").0.apply(&mut config);
        assert_eq!(config.partitions, 8);
        let error = faults("partition = 8");
        assert_eq!(error, "line 1: unknown setting partition; did you mean partitions?");
        let error = faults("\npartitions = \"8\"");
        assert!(error.contains("line 2"), "{error}");
        let error = faults("listen = 1\npartition = 8\nlog_level = 3");
        assert_eq!(error.lines().count(), 3, "{error}");
        let missing = Config::load(Some(Path::new("no-such-file.toml")), []).unwrap_err();
        assert!(missing.0.contains("cannot read no-such-file.toml"), "{missing}");
    }
}
