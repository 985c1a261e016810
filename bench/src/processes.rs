//! Processor time of a deployment's processes, which the starter of the benchmark has started as well:
//! they are its other children.

use std::collections::BTreeMap;
use std::error::Error;

/// Of the clock in /proc, on Linux.
const TICKS_A_SECOND: f64 = 100.0;
/// Where the fields of `/proc/PID/stat` after the name have the parent, and user and system time.
const PARENT: usize = 1;
const TIMES: [usize; 2] = [11, 12];

/// Seconds of processor time by name of the program.
pub type Times = BTreeMap<String, f64>;

/// Returns the times so far; empty where there is no `/proc`.
///
/// # Errors
/// If a process cannot be read.
pub fn times() -> Result<Times, Box<dyn Error>> {
    let mut times = Times::new();
    let Ok(processes) = std::fs::read_dir("/proc") else { return Ok(times) };
    let starter = std::os::unix::process::parent_id().to_string();
    for process in processes {
        // A process that has ended meanwhile is left out.
        let Ok(stat) = std::fs::read_to_string(process?.path().join("stat")) else { continue };
        let Some((name, fields)) =
            stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(") "))
        else {
            continue;
        };
        let fields: Vec<&str> = fields.split(' ').collect();
        if fields.get(PARENT).is_some_and(|parent| *parent == starter) {
            let ticks = TIMES.iter().filter_map(|at| fields.get(*at)?.parse::<f64>().ok());
            *times.entry(name.to_owned()).or_default() += ticks.sum::<f64>() / TICKS_A_SECOND;
        }
    }
    Ok(times)
}

/// Returns what was added since.
pub fn since(before: &Times, now: &Times) -> Times {
    let added = now
        .iter()
        .map(|(name, time)| (name.clone(), time - before.get(name).copied().unwrap_or_default()));
    added.filter(|(_, time)| *time > 0.0).collect()
}
