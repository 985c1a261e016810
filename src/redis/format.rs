//! The format of the data in Redis: this build starts only on its own.

use fred::types::Value;

use super::engine::Engine;
use super::error::RedisError;
use super::log::entries;
use crate::domain::Partition;
use crate::domain::entry::ENTRY_FORMAT;

impl Engine {
    /// Whether a partition has data of a build with another format: an event without this format's
    /// mark (`open_event.lua` writes it), or a newest log entry in the first format.
    pub async fn has_other_format(&self, partition: Partition) -> Result<bool, RedisError> {
        if let Some(event) = self.loaded_events(&[partition]).await?.first() {
            let args = [self.keys().named("event", *event), "format".to_owned()];
            let args = args.into_iter().map(Value::from).collect();
            let format = self.command("HGET", partition, args).await?;
            return Ok(format.as_string().as_deref() != Some(ENTRY_FORMAT));
        }
        let log = self.keys().log(partition);
        let args = [log.as_str(), "+", "-", "COUNT", "1"].into_iter().map(Value::from).collect();
        let newest = entries(partition, Some(self.command("XREVRANGE", partition, args).await?))?;
        // Format 1 had a field for each value. Anything else is a stray entry, which becomes a dead letter.
        Ok(newest.iter().flat_map(|read| &read.fields).any(|(name, _)| name == "kind"))
    }
}
