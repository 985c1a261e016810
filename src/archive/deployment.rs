//! Prepares the database at start: checks the server, claims the database for this deployment, creates
//! indexes.

use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};

use super::Archive;
use super::audit::{self, AUDIT};
use super::documents::{ARCHIVE_FORMAT, BOOKINGS, COUNTERS, EVENTS, INTENTS, META};
use super::error::{ArchiveError, Refusal};
use super::gateway::{DUPLICATE_KEY, Verb, integer};
use super::webhooks::{KEEP_SECONDS, WEBHOOKS};

/// How long the health check waits for the primary.
const PING_TIMEOUT: Duration = Duration::from_millis(1_900);

/// Properties of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerInfo {
    /// Its version, such as `8.0.4`.
    pub version: String,
    /// The name of its replica set; `None` for a standalone server or a router.
    pub replica_set: Option<String>,
    /// Whether it is the router of a sharded cluster.
    pub sharded: bool,
}

impl Archive {
    /// Checks that the primary responds within [`PING_TIMEOUT`]; otherwise the circuit breaker opens.
    pub async fn ping(&self) -> Result<(), ArchiveError> {
        let bound = PING_TIMEOUT.min(self.gateway.op_timeout());
        let pinged = self.gateway.patiently().within(bound).command(doc! { "ping": 1 }).await;
        if let Err(ArchiveError::Unavailable(_)) = pinged {
            self.gateway.circuit_breaker().trip(Instant::now());
        }
        pinged.map(drop)
    }

    /// Reads version and topology, for the check at start.
    pub async fn server_info(&self) -> Result<ServerInfo, ArchiveError> {
        let build = self.gateway.command(doc! { "buildInfo": 1 }).await?;
        let hello = self.gateway.command(doc! { "hello": 1 }).await?;
        Ok(ServerInfo {
            version: build.get_str("version").unwrap_or("unknown").to_owned(),
            replica_set: hello.get_str("setName").ok().map(str::to_owned),
            sharded: hello.get_str("msg") == Ok("isdbgrid"),
        })
    }

    /// Claims the database for this deployment, or checks that it is claimed for the same one, and
    /// creates its indexes. Refuses a database made for another number of partitions, whose events would
    /// be looked up in wrong partitions.
    pub async fn prepare(&self, partitions: u16) -> Result<(), ArchiveError> {
        let ours = doc! {
            "_id": "deployment",
            "partitions": i32::from(partitions),
            "format": ARCHIVE_FORMAT,
        };
        let written = self.gateway.write(Verb::Insert, META, vec![ours]).await?;
        match written.errors.first() {
            Some(error) if error.code == DUPLICATE_KEY => match self.deployment().await? {
                Some(found) => self.check_deployment(&found, partitions)?,
                // Another process has just written it; no majority has it yet.
                None => {
                    let reason = "the deployment is being recorded".to_owned();
                    return Err(ArchiveError::Unavailable(reason));
                }
            },
            Some(error) => return Err(ArchiveError::Unavailable(error.message.clone())),
            None => {}
        }
        // Event ids begin with 1; an existing counter stays unchanged.
        let counter = doc! { "_id": "event", "seq": 0_i64 };
        self.gateway.write_plain(Verb::Insert, COUNTERS, vec![counter]).await?;
        self.create_indexes().await
    }

    /// The random id of this archive, written by the first process. Deployments with equal names have
    /// different ids.
    pub async fn deployment_id(&self) -> Result<String, ArchiveError> {
        const ID: &str = "deployment_id";
        let value = format!("{:032x}", rand::random::<u128>());
        let ours = doc! { "_id": ID, "value": &value };
        let written = self.gateway.write(Verb::Insert, META, vec![ours]).await?;
        match written.errors.first() {
            None => Ok(value),
            Some(error) if error.code == DUPLICATE_KEY => {
                let found: Option<Document> = self.gateway.find_by_id(META, ID).await?;
                match found {
                    Some(found) => found
                        .get_str("value")
                        .map(str::to_owned)
                        .map_err(|_| ArchiveError::Corrupt(format!("meta.{ID}.value"))),
                    // Another process has just written it; no majority has it yet.
                    None => {
                        let reason = "the deployment's id is being recorded".to_owned();
                        Err(ArchiveError::Unavailable(reason))
                    }
                }
            }
            Some(error) => Err(ArchiveError::Unavailable(error.message.clone())),
        }
    }

    /// Checks that the database is claimed for this deployment, without writing. For tools that only
    /// read: an empty database is more likely the wrong one than a new one.
    pub async fn recognise(&self, partitions: u16) -> Result<(), ArchiveError> {
        match self.deployment().await? {
            Some(found) => self.check_deployment(&found, partitions),
            None => {
                let database = self.gateway.database_name().to_owned();
                Err(Refusal::Unclaimed { database }.into())
            }
        }
    }

    async fn deployment(&self) -> Result<Option<Document>, ArchiveError> {
        self.gateway.find_by_id(META, "deployment").await
    }

    fn check_deployment(&self, found: &Document, partitions: u16) -> Result<(), ArchiveError> {
        let database = self.gateway.database_name().to_owned();
        let number = |name| {
            let value = found.get(name).and_then(integer);
            value.ok_or_else(|| ArchiveError::Corrupt(format!("meta.deployment.{name}")))
        };
        let (format, theirs) = (number("format")?, number("partitions")?);
        if format != ARCHIVE_FORMAT {
            let ours = ARCHIVE_FORMAT;
            return Err(Refusal::Format { database, theirs: format, ours }.into());
        }
        if theirs != i64::from(partitions) {
            return Err(Refusal::Partitions { database, theirs, ours: partitions }.into());
        }
        Ok(())
    }

    /// Creates indexes. Claims and transitions are read by ranges of `_id` and need no other index.
    async fn create_indexes(&self) -> Result<(), ArchiveError> {
        let bookings = vec![
            // `verify` and `restore` read an event's bookings.
            doc! { "name": "by_event", "key": { "event": 1, "_id": 1 } },
            // A user's own list, newest first.
            doc! { "name": "by_user", "key": { "user": 1, "created_ms": -1, "_id": -1 } },
            // Cancellations that are not settled in Redis: few at any time, hence sparse.
            doc! { "name": "by_cancel", "key": { "cancel_unsettled_ms": 1 }, "sparse": true },
        ];
        let events = vec![
            // Events whose opening was interrupted.
            doc! { "name": "by_load", "key": { "load_state": 1, "created_at_ms": 1 } },
            // Detects changed events (`event_stamps`) without reading their layouts.
            doc! { "name": "by_stamp", "key": {
                "_id": 1, "generation": 1, "revision": 1, "edits": 1, "load_state": 1,
            } },
        ];
        let intents = vec![
            // `restore` and `reconcile` read an event's intents.
            doc! { "name": "by_event", "key": { "event": 1, "_id": 1 } },
            // Intents that are not closed.
            doc! { "name": "by_due", "key": { "due_ms": 1 }, "sparse": true },
            // Intents whose refund did not succeed at once: few, hence sparse.
            doc! { "name": "by_refund", "key": { "refund.state": 1 }, "sparse": true },
        ];
        let webhooks = vec![doc! {
            "name": "by_age", "key": { "handled_at": 1 }, "expireAfterSeconds": KEEP_SECONDS,
        }];
        for (collection, indexes) in [
            (BOOKINGS, bookings),
            (EVENTS, events),
            (INTENTS, intents),
            (WEBHOOKS, webhooks),
            (AUDIT, audit::indexes()),
        ] {
            let command = doc! {
                "createIndexes": collection,
                "indexes": indexes,
                "writeConcern": { "w": "majority", "wtimeout": self.gateway.millis() },
            };
            self.gateway.command(command).await?;
        }
        Ok(())
    }
}
