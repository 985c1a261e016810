//! What the comparison is to show, and whether it does.

use serde::Serialize;

use super::report::Row;

/// p99 counts as behind if it exceeds another's by more than this: rounds of one strategy differ by
/// as much.
const P99_FACTOR: f64 = 1.1;
const P99_SPARE_MS: f64 = 0.5;

/// A statement, and whether the figures bear it out.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    pub statement: String,
    pub holds: bool,
    /// What speaks against it.
    pub against: Vec<String>,
}

impl Verdict {
    fn new(statement: String, against: Vec<String>) -> Self {
        Verdict { statement, holds: against.is_empty(), against }
    }

    /// One line.
    pub fn line(&self) -> String {
        match self.holds {
            true => format!("yes  {}", self.statement),
            false => format!("NO   {}: {}", self.statement, self.against.join("; ")),
        }
    }
}

/// Compares Holdfast with the others; empty without it, or without others.
pub fn verdicts(rows: &[Row]) -> Vec<Verdict> {
    let Some(ours) = rows.iter().find(|row| row.is_holdfast()) else { return Vec::new() };
    let others: Vec<&Row> = rows.iter().filter(|row| !row.is_holdfast()).collect();
    if others.is_empty() {
        return Vec::new();
    }
    let ahead = |what: &str, figure: fn(&Row) -> f64| {
        let faster = others.iter().filter(|row| figure(row) >= figure(ours));
        let against = faster.map(|row| format!("{} {:.0}", row.label, figure(row))).collect();
        Verdict::new(
            format!("Holdfast has the most {what} a second ({:.0})", figure(ours)),
            against,
        )
    };
    let ours_ms = ours.equal_load.p99_ms;
    let allowed = |row: &Row| row.equal_load.p99_ms * P99_FACTOR + P99_SPARE_MS;
    let sooner = others.iter().filter(|row| ours_ms > allowed(row));
    let mut sooner: Vec<String> =
        sooner.map(|row| format!("{} {:.1} ms", row.label, row.equal_load.p99_ms)).collect();
    if ours.equal_load.failed > 0 {
        sooner.push(format!("{} of its own requests failed", ours.equal_load.failed));
    }
    if ours_ms <= 0.0 {
        sooner.push("nothing was measured".to_owned());
    }
    let counter = others.iter().find(|row| row.name == "counter");
    let mut verdicts = vec![
        ahead("grants", |row| row.grants_per_second),
        ahead("refusals", |row| row.refusals_per_second),
        Verdict::new(
            format!(
                "Holdfast's p99 at equal load ({ours_ms:.1} ms) is behind nobody's \
                 (by more than a tenth and {P99_SPARE_MS} ms)"
            ),
            sooner,
        ),
        Verdict::new(
            "Holdfast sold no seat twice".to_owned(),
            (ours.oversold > 0).then(|| format!("{} seats", ours.oversold)).into_iter().collect(),
        ),
    ];
    let missing = ours.missing_documents;
    verdicts.push(Verdict::new(
        "every grant of Holdfast has a document in MongoDB".to_owned(),
        (missing > 0).then(|| format!("{missing} have none")).into_iter().collect(),
    ));
    if let Some(counter) = counter {
        let statement = format!("the counter without script oversold ({})", counter.oversold);
        let against = (counter.oversold == 0).then(|| "it did not in this run".to_owned());
        verdicts.push(Verdict::new(statement, against.into_iter().collect()));
    }
    let others_oversold = others.iter().filter(|row| row.name != "counter" && row.oversold > 0);
    verdicts.push(Verdict::new(
        "no other strategy oversold".to_owned(),
        others_oversold.map(|row| format!("{} {}", row.label, row.oversold)).collect(),
    ));
    verdicts
}
