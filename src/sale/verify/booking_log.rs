//! Verifies one partition's booking log: its entries form one chain and are in the archive's ledger.

use super::findings::Findings;
use super::{PAGE, PartitionReport, Verification};
use crate::archive::transition_id;
use crate::domain::{Entry, LogId, Partition};
use crate::redis::{DeadLetter, Read};
use crate::sale::SaleError;

/// Dead letters of one partition that are read, newest first.
const DEAD_LETTERS_MAX: usize = 10_000;

/// The state of a scan of one log.
struct LogScan {
    partition: Partition,
    /// The last readable entry.
    previous: Option<Entry>,
    entries: u64,
    parked: u64,
    /// Read when the first entry needs them.
    letters: Option<Vec<DeadLetter>>,
    problems: Findings,
}

impl Verification<'_> {
    pub(super) async fn partition(
        &self,
        partition: Partition,
    ) -> Result<PartitionReport, SaleError> {
        // In this order: an entry above the link is then an unlinked entry, not one added in between.
        let last = self.engine.last_entry(partition).await?.unwrap_or_default();
        let link = self.engine.link(partition).await?;
        let newest = link.as_ref().map_or(LogId::default(), |(id, _)| *id);
        let position = newest.max(last);
        let watermark = self.await_archive(partition, position).await?;
        let mut scan = LogScan {
            partition,
            previous: None,
            entries: 0,
            parked: 0,
            letters: None,
            problems: Findings::default(),
        };
        if watermark < position {
            scan.problems.add(format!("archived up to {watermark} only, the log is at {position}"));
        }
        self.scan(&mut scan, position).await?;
        if let (Some(entry), Some((id, tag))) = (&scan.previous, &link)
            && (entry.id, &entry.link.tag) != (*id, tag)
        {
            let entry = entry.id;
            scan.problems.add(format!("the log ends with {entry}, but its newest entry is {id}"));
        }
        Ok(PartitionReport {
            partition: partition.0,
            entries: scan.entries,
            position: position.to_string(),
            watermark: watermark.to_string(),
            parked: scan.parked,
            problems: scan.problems.shown(),
        })
    }

    /// Checks that every entry up to `position` follows its predecessor and is in the archive's ledger.
    async fn scan(&self, scan: &mut LogScan, position: LogId) -> Result<(), SaleError> {
        let mut from = LogId::default();
        loop {
            let count = u64::from(PAGE);
            let reads = self.engine.range(scan.partition, from, Some(position), count).await?;
            let Some(last) = reads.last() else { return Ok(()) };
            from = last.id.next();
            self.forget_trimmed(scan).await?;
            scan.entries += reads.len() as u64;
            let mut in_ledger = Vec::with_capacity(reads.len());
            for read in &reads {
                match &read.entry {
                    Ok(entry) => {
                        scan.follow(entry);
                        in_ledger.extend(transition_id(entry).map(|id| (id, read)));
                    }
                    Err(error) => {
                        let text = format!("entry {}: {error}, in no dead letter", read.id);
                        self.check_unreadable(scan, read, text).await?;
                    }
                }
            }
            self.check_ledger(scan, in_ledger).await?;
        }
    }

    /// Resets the chain if the last entry of the previous page was trimmed: entries after it may have
    /// been trimmed, too.
    async fn forget_trimmed(&self, scan: &mut LogScan) -> Result<(), SaleError> {
        if let Some(previous) = &scan.previous {
            let id = previous.id;
            if self.engine.range(scan.partition, id, Some(id), 1).await?.is_empty() {
                scan.previous = None;
            }
        }
        Ok(())
    }

    /// Accepts an unreadable entry that was parked; it is not part of the chain.
    async fn check_unreadable(
        &self,
        scan: &mut LogScan,
        read: &Read,
        problem: String,
    ) -> Result<(), SaleError> {
        match self.letter(scan, read).await? {
            Some(_) => scan.parked += 1,
            None => scan.problems.add(problem),
        }
        Ok(())
    }

    /// Reports readable entries that are missing in the ledger, also parked ones.
    async fn check_ledger(
        &self,
        scan: &mut LogScan,
        entries: Vec<(String, &Read)>,
    ) -> Result<(), SaleError> {
        let ids = entries.iter().map(|(id, _)| id.clone()).collect();
        for missing in self.archive.missing_transitions(ids).await? {
            let Some((_, read)) = entries.iter().find(|(id, _)| *id == missing) else { continue };
            let why = match self.letter(scan, read).await? {
                Some(letter) => format!(" (parked: {})", letter.reason),
                None => String::new(),
            };
            scan.problems.add(format!("{missing} is not in the archive's ledger{why}"));
        }
        Ok(())
    }

    /// The dead letter of an entry, if it was parked.
    async fn letter<'s>(
        &self,
        scan: &'s mut LogScan,
        read: &Read,
    ) -> Result<Option<&'s DeadLetter>, SaleError> {
        let letters = match scan.letters.take() {
            Some(letters) => letters,
            None => self.letters(scan.partition).await?,
        };
        Ok(scan.letters.insert(letters).iter().find(|letter| letter.is_of(read)))
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

impl LogScan {
    fn follow(&mut self, entry: &Entry) {
        if self.previous.as_ref().is_some_and(|previous| !previous.is_followed_by(entry)) {
            self.problems.add(format!("entry {} does not follow its predecessor", entry.id));
        }
        self.previous = Some(entry.clone());
    }
}
