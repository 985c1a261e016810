//! Run-time operations for operators: asks all processes to reload their settings, or to log otherwise
//! for a time, and reads their answers.

use std::time::Duration;

use super::unix_now_ms;
use crate::archive::{Archive, ArchiveError};
pub use crate::archive::{Control, LogOverride, ProcessRecord, ReloadAnswer, ReloadRequest};

/// How often a process reads what operators ask.
pub const READ_INTERVAL: Duration = Duration::from_secs(1);
/// How often it writes its record where nothing else makes it.
pub const RECORD_INTERVAL: Duration = Duration::from_secs(5);
/// A process that has not written its record for so long is not running, or does not reach MongoDB.
pub const ALIVE_FOR: Duration = Duration::from_secs(20);
/// Records of processes that are older are removed.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(86_400);
/// Longest time of a log level.
pub const LOG_LEVEL_FOR_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Attempts of one change when other operators are first.
const ATTEMPTS_MAX: u32 = 20;

/// What operators ask of all processes.
#[derive(Clone)]
pub struct ControlStore {
    archive: Archive,
}

impl ControlStore {
    /// Uses this archive.
    pub fn new(archive: Archive) -> Self {
        ControlStore { archive }
    }

    /// Asks all processes to reload their settings; returns the request's id.
    ///
    /// # Errors
    /// If the archive does not answer. The request may have been made; making it again is safe.
    pub async fn request_reload(&self, by: &str) -> Result<String, ArchiveError> {
        let id = format!("{:016x}", rand::random::<u64>());
        let request = ReloadRequest { id: id.clone(), by: by.to_owned(), at_ms: unix_now_ms() };
        self.change(|control| control.reload = Some(request.clone())).await?;
        Ok(id)
    }

    /// Sets a log level for a time: of one process, or of all, which replaces every other one.
    ///
    /// # Errors
    /// If the archive does not answer. Repeating it is safe.
    pub async fn set_log_level(&self, level: &LogOverride) -> Result<(), ArchiveError> {
        let now_ms = unix_now_ms();
        self.change(|control| {
            control.log_levels.retain(|one| {
                level.process.is_some() && one.process != level.process && one.until_ms > now_ms
            });
            control.log_levels.push(level.clone());
        })
        .await
    }

    /// Ends the log levels for a time: of one process, or of all.
    ///
    /// # Errors
    /// If the archive does not answer. Repeating it is safe.
    pub async fn reset_log_level(&self, process: Option<&str>) -> Result<(), ArchiveError> {
        self.change(|control| {
            let keeps = |one: &LogOverride| process.is_some() && one.process.as_deref() != process;
            control.log_levels.retain(keeps);
        })
        .await
    }

    /// The processes that run, by name: those that have written their records lately.
    ///
    /// # Errors
    /// If the archive does not answer.
    pub async fn running(&self) -> Result<Vec<ProcessRecord>, ArchiveError> {
        self.archive.processes(unix_now_ms() - ms(ALIVE_FOR)).await
    }

    async fn change(&self, edit: impl Fn(&mut Control)) -> Result<(), ArchiveError> {
        for _ in 0..ATTEMPTS_MAX {
            let mut control = self.archive.control().await?;
            edit(&mut control);
            control.revision += 1;
            if self.archive.change_control(&control).await? {
                return Ok(());
            }
        }
        Err(ArchiveError::Unavailable("others change it all the time; try again".to_owned()))
    }
}

/// The log level that operators ask of a process: its own before that of all.
pub fn log_level_of<'a>(
    control: &'a Control,
    process: &str,
    now_ms: i64,
) -> Option<&'a LogOverride> {
    let mut lasting = control.log_levels.iter().filter(|one| one.until_ms > now_ms);
    let own = lasting.clone().find(|one| one.process.as_deref() == Some(process));
    own.or_else(|| lasting.find(|one| one.process.is_none()))
}

/// A duration in ms, as times in the archive.
pub fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_log_level_takes_precedence() {
        let level = |process: Option<&str>, directives: &str| LogOverride {
            process: process.map(str::to_owned),
            directives: directives.to_owned(),
            until_ms: if process.is_some() { 10 } else { 20 },
            for_ms: 1,
            by: String::new(),
        };
        let log_levels = vec![level(None, "debug"), level(Some("a"), "trace")];
        let control = Control { log_levels, ..Control::default() };
        assert_eq!(log_level_of(&control, "a", 9).unwrap().directives, "trace");
        assert_eq!(log_level_of(&control, "b", 9).unwrap().directives, "debug");
        assert_eq!(log_level_of(&control, "a", 10).unwrap().directives, "debug", "its own ended");
        assert_eq!(log_level_of(&control, "a", 20), None);
        assert_eq!(log_level_of(&Control::default(), "a", 0), None);
    }
}
