//! Finds one dead letter by the id that the operator gave.

use crate::ctl::failure::Failure;
use crate::domain::Partition;
use crate::redis::{DeadLetter, Engine};
pub(super) use crate::sale::dead_letters::LetterId;

/// Finds the letter with this id.
pub(super) async fn find(
    id: LetterId,
    engine: &Engine,
) -> Result<(Partition, DeadLetter), Failure> {
    let mut found = id.find(engine).await?;
    let position = id.position();
    match (found.pop(), found.is_empty()) {
        (Some(letter), true) => Ok(letter),
        (Some((last, _)), false) => {
            let mut names: Vec<String> =
                found.iter().map(|(one, _)| format!("{one}:{position}")).collect();
            names.push(format!("{last}:{position}"));
            let names = names.join(" and ");
            Err(Failure::new(format!("{position} names several dead letters: {names}; choose")))
        }
        (None, _) => Err(Failure::new(format!(
            "no dead letter {id}: replayed already, or never there; `holdfastctl \
             dead-letters list` lists them"
        ))),
    }
}
