//! A mark that changes when operators change the gates' configuration. Processes then read the
//! configuration from the archive again.

use fred::types::Value;

use super::engine::Engine;
use super::error::RedisError;
use super::scripts::new_nonce;
use super::value::text;
use crate::domain::Partition;

/// There is one mark; its partition does not matter.
const PARTITION: Partition = Partition(0);

impl Engine {
    /// The mark as it is now; `None` where there is none.
    pub async fn gates_mark(&self) -> Result<Option<String>, RedisError> {
        let reply = self.command("GET", PARTITION, vec![Value::from(self.keys().gates())]).await?;
        if reply.is_null() { Ok(None) } else { text(Some(reply)).map(Some) }
    }

    /// Sets a mark that never was. One that arrives late does no harm: processes look once more.
    pub async fn renew_gates_mark(&self) -> Result<(), RedisError> {
        let args = vec![Value::from(self.keys().gates()), Value::from(new_nonce())];
        self.command("SET", PARTITION, args).await.map(drop)
    }
}
