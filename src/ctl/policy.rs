//! Shared by `limits` and `access`: the store of changes, and the result of one.

use serde::Serialize;
use serde::de::value::{Error, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};

use crate::config::Config;
use crate::domain::time::iso8601;
use crate::sale::policy::{
    Changed, PolicyStore, REACHES_ALL_SECONDS, REACHES_ALL_UNANNOUNCED_SECONDS,
};
use crate::start;

use super::failure::Failure;

/// The store for reading, without Redis.
pub(super) async fn open_for_reading(config: &Config) -> Result<PolicyStore, Failure> {
    Ok(PolicyStore::new(None, start::existing_archive(config).await?))
}

/// The store for changing, also while Redis is unavailable.
pub(super) async fn open_for_changing(config: &Config) -> Result<PolicyStore, Failure> {
    let archive = start::existing_archive(config).await?;
    let engine = start::existing_engine(config).await;
    let engine = engine.inspect_err(|error| tracing::warn!("{error}"));
    Ok(PolicyStore::new(engine.ok(), archive))
}

/// The result of a change.
#[derive(Serialize)]
pub(super) struct ChangeResult {
    /// Whether anything was changed.
    changed: bool,
    /// Whether the change was announced to processes.
    announced: bool,
    /// Within how many seconds every running process adopts it.
    reaches_all_within_seconds: u64,
}

impl From<&Changed> for ChangeResult {
    fn from(changed: &Changed) -> Self {
        let within = match changed.announced {
            true => REACHES_ALL_SECONDS,
            false => REACHES_ALL_UNANNOUNCED_SECONDS,
        };
        let Changed { is_new, announced, .. } = *changed;
        ChangeResult { changed: is_new, announced, reaches_all_within_seconds: within }
    }
}

impl ChangeResult {
    /// The result as text.
    pub fn text(&self) -> String {
        let within = self.reaches_all_within_seconds;
        match (self.changed, self.announced) {
            (false, _) => "Nothing changed: it was so before.".to_owned(),
            (true, true) => format!("Changed. Every API process goes by it within {within} s."),
            (true, false) => format!(
                "Changed, but Redis does not answer, so the change was not announced: every API \
                 process goes by it within {within} s, those that do not reach Redis either within \
                 {REACHES_ALL_SECONDS} s."
            ),
        }
    }
}

/// The last change of the policy.
#[derive(Serialize)]
pub(super) struct LastChange {
    revision: i64,
    by: String,
    at: String,
}

impl LastChange {
    /// `None` if there was no change.
    pub fn of(stored: &crate::archive::StoredPolicy) -> Option<Self> {
        let revision = stored.live.revision;
        let change = || LastChange { revision, by: stored.by.clone(), at: iso8601(stored.at_ms) };
        (revision > 0).then(change)
    }

    /// The last change as text.
    pub fn text(last: Option<&Self>) -> String {
        match last {
            Some(LastChange { revision, by, at }) => {
                format!("Revision {revision}, changed last by {by} at {at}.")
            }
            None => "Operators have changed nothing.".to_owned(),
        }
    }
}

/// Parses one of the values of a setting; the error lists them.
pub(super) fn parse_word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let text: StrDeserializer<'_, Error> = text.into_deserializer();
    T::deserialize(text).map_err(|error| error.to_string())
}

/// The serialized name of a value.
pub(super) fn serialized_name(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        // Only enums are passed here; any other value is shown as JSON.
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::AllRules;
    use crate::domain::{Mode, RouteClass};

    #[test]
    fn names_are_parsed_and_serialized() {
        assert_eq!(parse_word::<Mode>("observe"), Ok(Mode::Observe));
        assert_eq!(serialized_name(&RouteClass::WaitingRoomJoin), "waiting_room_join");
        let error = parse_word::<AllRules>("strict").unwrap_err();
        assert!(["each", "enforce", "observe", "off"].iter().all(|w| error.contains(w)), "{error}");
    }
}
