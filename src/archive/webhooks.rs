//! Handled webhooks, so that a repeated webhook is not handled twice. A TTL index keeps them for
//! [`KEEP_SECONDS`], longer than any provider repeats a webhook.

use mongodb::bson::{DateTime, doc};

use super::Archive;
use super::error::ArchiveError;
use super::gateway::Verb;
use crate::domain::BookingId;

/// One document a handled webhook; `_id`: the provider's event id.
pub(super) const WEBHOOKS: &str = "webhooks";
/// How long one is kept, seconds: 30 days.
pub(super) const KEEP_SECONDS: i32 = 30 * 86_400;

impl Archive {
    /// Whether this webhook was handled.
    pub async fn webhook_is_handled(&self, id: &str) -> Result<bool, ArchiveError> {
        Ok(self.gateway.count(WEBHOOKS, doc! { "_id": id }).await? > 0)
    }

    /// Records that this webhook was handled. Called after handling it.
    pub async fn record_webhook(
        &self,
        id: &str,
        kind: &str,
        booking: BookingId,
    ) -> Result<(), ArchiveError> {
        let document = doc! {
            "_id": id,
            "type": kind,
            "booking": booking.to_string(),
            // TTL indexes require this type.
            "handled_at": DateTime::now(),
        };
        // A duplicate is fine: another delivery was handled concurrently.
        self.gateway.write_plain(Verb::Insert, WEBHOOKS, vec![document]).await?;
        Ok(())
    }
}
