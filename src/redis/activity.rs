//! The counts of operators: what each process adds to an event's series, and the requests it refused
//! in all. Lost ones lose nothing of the sale.

use fred::types::Value;

use super::engine::Engine;
use super::error::RedisError;
use super::value::{list, text};
use crate::domain::EventId;
use crate::domain::activity::STEPS;

/// Steps under one key: five minutes.
pub const WINDOW_STEPS: i64 = 60;
/// How long the counts of a window are kept after the last addition, ms: longer than a series.
const WINDOW_KEPT_MS: i64 = 25 * 60_000;
/// How long the counts of refused requests are kept after the last addition, ms: 30 days.
const REFUSALS_KEPT_MS: i64 = 30 * 86_400_000;

/// A field with its value.
pub type Field = (String, String);

/// The windows of the series that ends with a step.
pub fn windows_until(step: i64) -> std::ops::RangeInclusive<i64> {
    (step - STEPS as i64).div_euclid(WINDOW_STEPS)..=step.div_euclid(WINDOW_STEPS)
}

impl Engine {
    /// Writes fields of one window of an event's series. Repeating it changes nothing.
    pub async fn write_activity(
        &self,
        event: EventId,
        window: i64,
        fields: &[Field],
    ) -> Result<(), RedisError> {
        self.write_fields(event, self.keys().activity(event, window), fields, WINDOW_KEPT_MS).await
    }

    /// Writes how many requests processes refused of an event. Repeating it changes nothing.
    pub async fn write_refusals(&self, event: EventId, fields: &[Field]) -> Result<(), RedisError> {
        self.write_fields(event, self.keys().refusals(event), fields, REFUSALS_KEPT_MS).await
    }

    /// The fields of an event's series that ends with a step.
    pub async fn activity(&self, event: EventId, until: i64) -> Result<Vec<Field>, RedisError> {
        let mut fields = Vec::new();
        for window in windows_until(until) {
            fields.extend(self.fields(event, self.keys().activity(event, window)).await?);
        }
        Ok(fields)
    }

    /// The fields of an event's series in the window of one step.
    pub async fn activity_in_step(
        &self,
        event: EventId,
        step: i64,
    ) -> Result<Vec<Field>, RedisError> {
        self.fields(event, self.keys().activity(event, step.div_euclid(WINDOW_STEPS))).await
    }

    /// How many requests processes refused of an event.
    pub async fn refusals(&self, event: EventId) -> Result<Vec<Field>, RedisError> {
        self.fields(event, self.keys().refusals(event)).await
    }

    async fn write_fields(
        &self,
        event: EventId,
        key: String,
        fields: &[Field],
        kept_ms: i64,
    ) -> Result<(), RedisError> {
        if fields.is_empty() {
            return Ok(());
        }
        let partition = self.keys().partition_of(event);
        let pairs = fields.iter().flat_map(|(name, value)| [name.clone(), value.clone()]);
        let args = std::iter::once(key.clone()).chain(pairs).map(Value::from).collect();
        self.command("HSET", partition, args).await?;
        let args = vec![Value::from(key), Value::from(kept_ms)];
        self.command("PEXPIRE", partition, args).await.map(drop)
    }

    async fn fields(&self, event: EventId, key: String) -> Result<Vec<Field>, RedisError> {
        let partition = self.keys().partition_of(event);
        let reply = list(Some(self.command("HGETALL", partition, vec![key.into()]).await?))?;
        let mut values = reply.into_iter();
        let mut fields = Vec::new();
        while let (Some(name), value @ Some(_)) = (values.next(), values.next()) {
            fields.push((text(Some(name))?, text(value)?));
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_lies_in_the_windows_that_are_read() {
        let windows = windows_until(1_000);
        assert_eq!(windows, 13..=16);
        assert!(*windows.start() * WINDOW_STEPS <= 1_000 - STEPS as i64 + 1);
    }
}
