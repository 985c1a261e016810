//! Webhooks that were handled: so that one that is sent again is not handled again. Kept for
//! [`KEEP_SECONDS`] by a TTL index, longer than any provider repeats.

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

    /// Records that this webhook was handled, after it was.
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
            // TTL indexes know this type alone.
            "handled_at": DateTime::now(),
        };
        // Another delivery may have been quicker: that is as good.
        self.gateway.write_plain(Verb::Insert, WEBHOOKS, vec![document]).await?;
        Ok(())
    }
}
