//! Errors of calls to Redis, distinguished by whether the call may have had an effect.

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedisError {
    /// The call surely did not run: not connected, refused by Redis, or too much in flight.
    #[error("redis is unavailable: {0}")]
    NotRun(String),
    /// No reply came: the call may have run, or may still run until its `not_after`.
    #[error("redis did not answer: {0}")]
    Unknown(String),
    /// Redis answered something that we cannot read, or a script failed: a defect.
    #[error("redis answered unexpectedly: {0}")]
    Unexpected(String),
}

/// What in an error's text waiting does not mend: refused credentials, a command that the user may
/// not send, a URL that will not do, a certificate that is not believed, a server without TLS.
const LASTING: [&str; 7] = [
    "WRONGPASS",
    "NOAUTH",
    "NOPERM",
    "cluster support disabled",
    "redis_url is not usable",
    "InvalidCertificate",
    "InvalidContentType",
];
/// Too many calls wait for Redis already.
const OVERLOADED: &str = "too many calls under way";
/// Its circuit breaker is open.
const NO_ANSWERS: &str = "it has not answered for a moment";
/// What in the error of a call that did not run says that the server cannot serve any call now.
const AWAY: [&str; 4] = ["not connected", "LOADING", "MASTERDOWN", "CLUSTERDOWN"];

impl RedisError {
    /// Whether trying again later could change nothing, for a start that waits for Redis.
    pub fn is_lasting(&self) -> bool {
        let text = self.to_string();
        LASTING.iter().any(|part| text.contains(part))
    }

    /// Refused, and not sent, since too many calls wait for Redis.
    pub(super) fn overloaded() -> Self {
        RedisError::NotRun(OVERLOADED.to_owned())
    }

    /// Refused, and not sent, since calls before it had no answer.
    pub(super) fn no_answers() -> Self {
        RedisError::NotRun(NO_ANSWERS.to_owned())
    }

    /// Whether the server gave no answer, or none of use to any call.
    pub(crate) fn is_away(&self) -> bool {
        match self {
            RedisError::NotRun(why) => AWAY.iter().any(|part| why.contains(part)),
            RedisError::Unknown(_) => true,
            RedisError::Unexpected(_) => false,
        }
    }

    /// Whether the call was refused because too many others are in flight.
    pub fn is_overloaded(&self) -> bool {
        matches!(self, RedisError::NotRun(why) if why == OVERLOADED)
    }
}

/// Error replies that Redis gives before a script runs.
/// (A permission that is missing within a script is "ERR ACL failure in script": it may have written.)
const REFUSED_BEFORE_RUN: [&str; 10] = [
    "LOADING",
    "OOM",
    "MISCONF",
    "NOREPLICAS",
    "BUSY ",
    "TRYAGAIN",
    "NOAUTH",
    "NOPERM",
    "MOVED ",
    "ASK ",
];

/// Error replies upon which the client library connects anew, and gives them to every command
/// under way on that connection: to some that Redis did run.
const SPREAD_TO_OTHERS: [&str; 3] = ["READONLY", "MASTERDOWN", "CLUSTERDOWN"];

impl From<fred::error::Error> for RedisError {
    fn from(error: fred::error::Error) -> Self {
        RedisError::from(&error)
    }
}

impl From<&fred::error::Error> for RedisError {
    fn from(error: &fred::error::Error) -> Self {
        use fred::error::ErrorKind;
        let text = error.to_string();
        if REFUSED_BEFORE_RUN.iter().any(|prefix| error.details().starts_with(prefix)) {
            return RedisError::NotRun(text);
        }
        if SPREAD_TO_OTHERS.iter().any(|prefix| error.details().starts_with(prefix)) {
            return RedisError::Unknown(text);
        }
        match error.kind() {
            ErrorKind::Backpressure | ErrorKind::Config | ErrorKind::Auth => {
                RedisError::NotRun(text)
            }
            // No reply: the connection broke, or the time was up.
            ErrorKind::IO
            | ErrorKind::Timeout
            | ErrorKind::Canceled
            | ErrorKind::Routing
            | ErrorKind::Protocol
            | ErrorKind::Cluster
            | ErrorKind::Sentinel => RedisError::Unknown(text),
            // An error reply of Redis itself: a script that failed may have written before.
            _ => RedisError::Unexpected(text),
        }
    }
}
