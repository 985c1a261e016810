//! Reads and forges histories, and counts in results.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// Returns the lines of a history.
pub fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Writes a history with these calls added at its end, or in place of one.
pub fn forged(path: &Path, name: &str, change: impl Fn(&mut Vec<Value>)) -> PathBuf {
    let mut all = lines(path);
    let mut end = all.pop().unwrap();
    change(&mut all);
    end["calls"] = (all.len() - 1).into();
    all.push(end);
    let forged = path.with_file_name(name);
    let text: Vec<String> = all.iter().map(Value::to_string).collect();
    std::fs::write(&forged, text.join("\n") + "\n").unwrap();
    forged
}

/// Returns the number of bots' calls of a point.
pub fn bot_calls(point: &Value) -> u64 {
    point["bot_outcomes"].as_object().map_or(0, |_| sum(&point["bot_outcomes"]))
}

/// Returns the sum of counts.
pub fn sum(value: &Value) -> u64 {
    value.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
}
