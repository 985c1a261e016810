//! Errors of the archive.

use mongodb::error::{Error, ErrorKind};

/// Why an operation on the archive failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ArchiveError {
    /// MongoDB did not respond in time, or refused for a temporary reason. The operation may have run;
    /// every operation is idempotent.
    #[error("MongoDB is unavailable: {0}")]
    Unavailable(String),
    /// The operation did not run and never will.
    #[error("MongoDB is unavailable: {0}")]
    NotRun(String),
    /// This process must not use this archive. Waiting does not help.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The request is invalid; the text says why.
    #[error("{0}")]
    Invalid(String),
    /// A document that this build cannot read. Waiting does not help.
    #[error("the archive has a document that this build cannot read: {0}")]
    Corrupt(String),
}

/// Why a process must not use an archive; each text says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The address is invalid.
    #[error("`mongodb_url` is not an address of MongoDB: {0}")]
    Url(String),
    /// The archive was made for another number of partitions.
    #[error(
        "database {database:?} was made for {theirs} partitions, this process has {ours}: \
         set `partitions` to {theirs}, or use another `mongodb_database`"
    )]
    Partitions {
        /// The database's name.
        database: String,
        /// The number it was made for.
        theirs: i64,
        /// The number of this process.
        ours: u16,
    },
    /// The database holds no archive.
    #[error(
        "database {database:?} holds no archive of Holdfast: set `mongodb_database` to the one \
         that holdfast-api uses, or start holdfast-api once"
    )]
    Unclaimed {
        /// The database's name.
        database: String,
    },
    /// The archive was written in another format.
    #[error(
        "database {database:?} has archive format {theirs}, this build reads {ours}: \
         run the build that wrote it, or use another `mongodb_database`"
    )]
    Format {
        /// The database's name.
        database: String,
        /// The format it has.
        theirs: i64,
        /// The format of this build.
        ours: i64,
    },
}

/// The beginning of the reason when MongoDB refuses the credentials.
const CREDENTIALS: &str = "the credentials are refused";
/// MongoDB's codes for refused credentials: `Unauthorized`, `AuthenticationFailed`.
const CREDENTIALS_CODES: [i32; 2] = [13, 18];

impl ArchiveError {
    /// Whether retrying cannot help, for a start that waits for MongoDB.
    pub fn is_lasting(&self) -> bool {
        match self {
            ArchiveError::Unavailable(reason) | ArchiveError::NotRun(reason) => {
                reason.starts_with(CREDENTIALS)
            }
            ArchiveError::Refused(_) | ArchiveError::Invalid(_) | ArchiveError::Corrupt(_) => true,
        }
    }
}

impl From<Error> for ArchiveError {
    fn from(error: Error) -> Self {
        match error.kind.as_ref() {
            ErrorKind::BsonDeserialization(inner) => ArchiveError::Corrupt(inner.to_string()),
            // Not `Refused`: credentials may be changed while the process runs.
            ErrorKind::Authentication { .. } => credentials(&error),
            ErrorKind::Command(inner) if CREDENTIALS_CODES.contains(&inner.code) => {
                credentials(&error)
            }
            _ => ArchiveError::Unavailable(brief(&error.to_string())),
        }
    }
}

fn credentials(error: &Error) -> ArchiveError {
    ArchiveError::Unavailable(format!("{CREDENTIALS}: {}", brief(&error.to_string())))
}

/// The driver's reason without the topology that it appends.
fn brief(text: &str) -> String {
    let reason = text.split(" Topology:").next().unwrap_or(text);
    reason.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_brief() {
        let long = "Server selection timeout: No available servers. Topology: { Type: Unknown }";
        assert_eq!(brief(long), "Server selection timeout: No available servers");
        assert_eq!(brief("connection refused"), "connection refused");
    }

    #[test]
    fn refused_credentials_and_a_foreign_archive_are_lasting() {
        let lasting = |error: ArchiveError| error.is_lasting();
        assert!(!lasting(ArchiveError::Unavailable("No available servers".to_owned())));
        assert!(lasting(ArchiveError::Unavailable(format!("{CREDENTIALS}: SCRAM failure"))));
        assert!(lasting(Refusal::Unclaimed { database: "x".to_owned() }.into()));
    }
}
