//! One partition's booking log: complete, in one chain, and in the archive's ledger.

use super::problems::Problems;
use super::{PAGE, PartitionReport, Run};
use crate::archive::transition_id;
use crate::domain::{Entry, LogId, Partition};
use crate::redis::{DeadLetter, Read};
use crate::sale::SaleError;

/// Dead letters of one partition that are kept in mind, newest first.
const DEAD_LETTERS_MAX: usize = 10_000;

/// What is known of a log while it is gone through.
struct Walk {
    partition: Partition,
    /// The last entry that could be read.
    previous: Option<Entry>,
    entries: u64,
    parked: u64,
    /// Read when the first entry asks for them.
    letters: Option<Vec<DeadLetter>>,
    problems: Problems,
}

impl Run<'_> {
    pub(super) async fn partition(
        &self,
        partition: Partition,
    ) -> Result<PartitionReport, SaleError> {
        // In this order: an entry above the link is then none that came in between, but one that
        // hangs on nothing.
        let last = self.engine.last_entry(partition).await?.unwrap_or_default();
        let link = self.engine.link(partition).await?;
        let newest = link.as_ref().map_or(LogId::default(), |(id, _)| *id);
        let position = newest.max(last);
        let watermark = self.await_archive(partition, position).await?;
        let mut walk = Walk {
            partition,
            previous: None,
            entries: 0,
            parked: 0,
            letters: None,
            problems: Problems::default(),
        };
        if watermark < position {
            walk.problems.add(format!("archived up to {watermark} only, the log is at {position}"));
        }
        self.walk(&mut walk, position).await?;
        if let (Some(entry), Some((id, tag))) = (&walk.previous, &link)
            && (entry.id, &entry.link.tag) != (*id, tag)
        {
            let entry = entry.id;
            walk.problems.add(format!("the log ends with {entry}, but its newest entry is {id}"));
        }
        Ok(PartitionReport {
            partition: partition.0,
            entries: walk.entries,
            position: position.to_string(),
            watermark: watermark.to_string(),
            parked: walk.parked,
            problems: walk.problems.shown(),
        })
    }

    /// Every entry up to `position` follows its predecessor and is in the archive's ledger.
    async fn walk(&self, walk: &mut Walk, position: LogId) -> Result<(), SaleError> {
        let mut from = LogId::default();
        loop {
            let count = u64::from(PAGE);
            let reads = self.engine.range(walk.partition, from, Some(position), count).await?;
            let Some(last) = reads.last() else { return Ok(()) };
            from = last.id.next();
            self.forget_trimmed(walk).await?;
            walk.entries += reads.len() as u64;
            let mut in_ledger = Vec::with_capacity(reads.len());
            for read in &reads {
                match &read.entry {
                    Ok(entry) => {
                        walk.follow(entry);
                        in_ledger.extend(transition_id(entry).map(|id| (id, read)));
                    }
                    Err(error) => {
                        let text = format!("entry {}: {error}, in no dead letter", read.id);
                        self.unreadable(walk, read, text).await?;
                    }
                }
            }
            self.check_ledger(walk, in_ledger).await?;
        }
    }

    /// The log is trimmed from its beginning: where the last entry of the page before is gone,
    /// those that followed it may be gone as well.
    async fn forget_trimmed(&self, walk: &mut Walk) -> Result<(), SaleError> {
        if let Some(previous) = &walk.previous {
            let id = previous.id;
            if self.engine.range(walk.partition, id, Some(id), 1).await?.is_empty() {
                walk.previous = None;
            }
        }
        Ok(())
    }

    /// A parked entry is known, and has no place in the chain.
    async fn unreadable(
        &self,
        walk: &mut Walk,
        read: &Read,
        problem: String,
    ) -> Result<(), SaleError> {
        match self.letter(walk, read).await? {
            Some(_) => walk.parked += 1,
            None => walk.problems.add(problem),
        }
        Ok(())
    }

    /// A readable entry that is missing from the ledger is lost to the archive, parked or not.
    async fn check_ledger(
        &self,
        walk: &mut Walk,
        entries: Vec<(String, &Read)>,
    ) -> Result<(), SaleError> {
        let ids = entries.iter().map(|(id, _)| id.clone()).collect();
        for missing in self.archive.missing_transitions(ids).await? {
            let Some((_, read)) = entries.iter().find(|(id, _)| *id == missing) else { continue };
            let why = match self.letter(walk, read).await? {
                Some(letter) => format!(" (parked: {})", letter.reason),
                None => String::new(),
            };
            walk.problems.add(format!("{missing} is not in the archive's ledger{why}"));
        }
        Ok(())
    }

    /// The dead letter of an entry, if it was parked.
    async fn letter<'w>(
        &self,
        walk: &'w mut Walk,
        read: &Read,
    ) -> Result<Option<&'w DeadLetter>, SaleError> {
        let letters = match walk.letters.take() {
            Some(letters) => letters,
            None => self.letters(walk.partition).await?,
        };
        Ok(walk.letters.insert(letters).iter().find(|letter| letter.is_of(read)))
    }

    async fn letters(&self, partition: Partition) -> Result<Vec<DeadLetter>, SaleError> {
        let mut letters: Vec<DeadLetter> = Vec::new();
        while letters.len() < DEAD_LETTERS_MAX {
            let before = letters.last().map(|letter| letter.id);
            let page = self.engine.dead_letters(partition, before, u64::from(PAGE)).await?;
            if page.is_empty() {
                break;
            }
            letters.extend(page);
        }
        Ok(letters)
    }
}

impl Walk {
    fn follow(&mut self, entry: &Entry) {
        if self.previous.as_ref().is_some_and(|previous| !previous.is_followed_by(entry)) {
            self.problems.add(format!("entry {} does not follow its predecessor", entry.id));
        }
        self.previous = Some(entry.clone());
    }
}
