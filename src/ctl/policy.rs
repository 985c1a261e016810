//! What `limits` and `access` share: where changes are kept, and what became of one.

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

/// For looking: Redis is not asked.
pub(super) async fn to_look(config: &Config) -> Result<PolicyStore, Failure> {
    Ok(PolicyStore::new(None, start::existing_archive(config).await?))
}

/// For changing, also while Redis is away.
pub(super) async fn to_change(config: &Config) -> Result<PolicyStore, Failure> {
    let archive = start::existing_archive(config).await?;
    let engine = start::existing_engine(config).await;
    let engine = engine.inspect_err(|error| tracing::warn!("{error}"));
    Ok(PolicyStore::new(engine.ok(), archive))
}

/// What became of a change.
#[derive(Serialize)]
pub(super) struct Done {
    /// Whether anything was changed.
    changed: bool,
    /// Whether processes were told.
    announced: bool,
    /// Within how many seconds all that run go by it.
    reaches_all_within_seconds: u64,
}

impl From<&Changed> for Done {
    fn from(changed: &Changed) -> Self {
        let within = match changed.announced {
            true => REACHES_ALL_SECONDS,
            false => REACHES_ALL_UNANNOUNCED_SECONDS,
        };
        let Changed { is_new, announced, .. } = *changed;
        Done { changed: is_new, announced, reaches_all_within_seconds: within }
    }
}

impl Done {
    /// The same for people.
    pub fn text(&self) -> String {
        let within = self.reaches_all_within_seconds;
        match (self.changed, self.announced) {
            (false, _) => "Nothing changed: it was so before.".to_owned(),
            (true, true) => format!("Changed. Every API process goes by it within {within} s."),
            (true, false) => format!(
                "Changed, but Redis does not answer and nobody could be told: every API process \
                 goes by it within {within} s, those that do not reach Redis either within \
                 {REACHES_ALL_SECONDS} s."
            ),
        }
    }
}

/// Who changed the policy last, and when.
#[derive(Serialize)]
pub(super) struct LastChange {
    revision: i64,
    by: String,
    at: String,
}

impl LastChange {
    /// `None` where nobody did.
    pub fn of(stored: &crate::archive::StoredPolicy) -> Option<Self> {
        let revision = stored.live.revision;
        let change = || LastChange { revision, by: stored.by.clone(), at: iso8601(stored.at_ms) };
        (revision > 0).then(change)
    }

    /// The same for people.
    pub fn text(last: Option<&Self>) -> String {
        match last {
            Some(LastChange { revision, by, at }) => {
                format!("Revision {revision}, changed last by {by} at {at}.")
            }
            None => "Operators have changed nothing.".to_owned(),
        }
    }
}

/// Reads one of the words of a setting; the error lists them.
pub(super) fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let text: StrDeserializer<'_, Error> = text.into_deserializer();
    T::deserialize(text).map_err(|error| error.to_string())
}

/// The word of a setting.
pub(super) fn word_of(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        // Words alone are given here; another kind would show as what it is.
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::AllRules;
    use crate::domain::{Mode, RouteClass};

    #[test]
    fn words_go_there_and_back() {
        assert_eq!(word::<Mode>("observe"), Ok(Mode::Observe));
        assert_eq!(word_of(&RouteClass::WaitingRoomJoin), "waiting_room_join");
        let error = word::<AllRules>("strict").unwrap_err();
        assert!(["each", "enforce", "observe", "off"].iter().all(|w| error.contains(w)), "{error}");
    }
}
