//! Marks of used socket tickets. They expire with the tickets.

use data_encoding::HEXLOWER;
use fred::types::Value;

use super::engine::Engine;
use super::error::RedisError;
use crate::domain::EventId;

/// A mark outlives its ticket by this much: the clocks of processes differ.
const MARGIN_MS: i64 = 60_000;

impl Engine {
    /// Marks a ticket as used; `false` if it was. `left_ms` is how long it is valid.
    pub async fn use_ticket(
        &self,
        event: EventId,
        nonce: &[u8],
        left_ms: i64,
    ) -> Result<bool, RedisError> {
        let key = self.keys().socket_ticket(event, &HEXLOWER.encode(nonce));
        let ttl_ms = left_ms.max(0) + MARGIN_MS;
        let args = [Value::from(key), "1".into(), "NX".into(), "PX".into(), ttl_ms.into()];
        let reply = self.command("SET", self.keys().partition_of(event), args.to_vec()).await?;
        Ok(!reply.is_null())
    }
}
