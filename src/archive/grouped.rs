//! Group commit: single-document writes of concurrent callers share a command.
//!
//! A few commands are in flight at most. What is to be written meanwhile waits for the next of them to
//! return, and all of it goes into one command. So a caller alone waits for nobody, and under load a
//! command, its journalling and its majority are paid for once instead of once a caller.
//!
//! Only writes whose result MongoDB reports for each operation can share a command: inserts, and upserts
//! whose guard fails as a duplicate key. Of plain updates it reports one count for all.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mongodb::bson::Document;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::error::ArchiveError;
use super::gateway::{Gateway, Verb, WriteError};

/// Commands in flight: one is written while the replies of another are on their way.
const COMMANDS_MAX: usize = 2;
/// Operations in one command.
const COMMAND_OPS_MAX: usize = 1_000;
/// Operations that wait; further ones are refused. Each waits at most the gateway's `op_timeout`.
const WAITING_MAX: usize = 10_000;

/// The result of one operation: its error, if MongoDB refused it.
type OperationResult = Result<Option<WriteError>, ArchiveError>;

/// Writes of one kind to one collection. Clones share the commands.
#[derive(Clone, Debug)]
pub(super) struct GroupedWrites {
    verb: Verb,
    collection: &'static str,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Waiting>,
    commands: usize,
}

#[derive(Debug)]
struct Waiting {
    operation: Document,
    result: oneshot::Sender<OperationResult>,
}

impl GroupedWrites {
    pub fn new(verb: Verb, collection: &'static str) -> Self {
        GroupedWrites { verb, collection, queue: Arc::default() }
    }

    /// Executes one operation with majority and journal. After an error it is unknown whether it was
    /// executed.
    pub async fn write(&self, gateway: &Gateway, operation: Document) -> OperationResult {
        let (result, received) = oneshot::channel();
        if self.enqueue(Waiting { operation, result })? {
            // If it panics, its own callers get an error, its slot is given back, and the next caller's
            // task sends what still waits.
            tokio::spawn(self.clone().run(gateway.clone()));
        }
        // A caller that gives up drops its receiver: what is not sent by then never is.
        match timeout(gateway.op_timeout(), received).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(ArchiveError::Unavailable("the write was abandoned".to_owned())),
            Err(_) => {
                let millis = gateway.op_timeout().as_millis();
                Err(ArchiveError::Unavailable(format!("no answer within {millis} ms")))
            }
        }
    }

    /// Returns whether a further command is to be sent.
    fn enqueue(&self, waiting: Waiting) -> Result<bool, ArchiveError> {
        let mut queue = self.lock();
        if queue.waiting.len() >= WAITING_MAX {
            let reason = format!("{WAITING_MAX} writes to {} wait", self.collection);
            return Err(ArchiveError::NotRun(reason));
        }
        queue.waiting.push(waiting);
        let is_due = queue.commands < COMMANDS_MAX;
        queue.commands += usize::from(is_due);
        Ok(is_due)
    }

    /// Sends commands until nothing waits.
    async fn run(self, gateway: Gateway) {
        let mut slot = CommandSlot { writes: self, is_given_back: false };
        while let Some(batch) = slot.next() {
            let (mut operations, mut results) = (Vec::new(), Vec::new());
            for Waiting { operation, result } in batch {
                operations.push(operation);
                results.push(result);
            }
            let GroupedWrites { verb, collection, .. } = slot.writes;
            let written = gateway.write(verb, collection, operations).await;
            let mut errors = match &written {
                Ok(written) => written.errors.clone(),
                Err(_) => Vec::new(),
            };
            for (index, result) in results.into_iter().enumerate() {
                let own = errors.iter().position(|error| error.index == index);
                let own = own.map(|at| errors.swap_remove(at));
                // The caller may have given up.
                let _ = result.send(written.as_ref().map(|_| own).map_err(ArchiveError::clone));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing under this lock panics half-way through a change.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to send commands one after another; given back when dropped, also by a panic.
struct CommandSlot {
    writes: GroupedWrites,
    is_given_back: bool,
}

impl CommandSlot {
    /// Takes what the next command writes; with nothing to write, gives the slot back in the same step.
    fn next(&mut self) -> Option<Vec<Waiting>> {
        let mut queue = self.writes.lock();
        queue.waiting.retain(|waiting| !waiting.result.is_closed());
        if queue.waiting.is_empty() {
            queue.commands -= 1;
            drop(queue);
            self.is_given_back = true;
            return None;
        }
        let count = queue.waiting.len().min(COMMAND_OPS_MAX);
        Some(queue.waiting.drain(..count).collect())
    }
}

impl Drop for CommandSlot {
    fn drop(&mut self) {
        if !self.is_given_back {
            self.writes.lock().commands -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    #[test]
    fn write_that_was_given_up_before_it_was_sent_is_not_sent() {
        let writes = GroupedWrites::new(Verb::Insert, "test");
        let mut callers = Vec::new();
        for n in 0..4_i32 {
            let (result, received) = oneshot::channel();
            let is_due = writes.enqueue(Waiting { operation: doc! { "_id": n }, result }).unwrap();
            assert_eq!(is_due, (n as usize) < COMMANDS_MAX);
            callers.push(received);
        }
        drop(callers.remove(2));
        let mut slot = CommandSlot { writes: writes.clone(), is_given_back: false };
        let batch = slot.next().unwrap();
        let sent: Vec<i32> =
            batch.iter().map(|one| one.operation.get_i32("_id").unwrap()).collect();
        assert_eq!(sent, [0, 1, 3]);
        // Nothing waits any more: the slot is given back, and dropping it gives nothing back again.
        assert!(slot.next().is_none());
        drop(slot);
        assert_eq!(writes.lock().commands, COMMANDS_MAX - 1);
        // A task that ends in between gives its slot back, too.
        drop(CommandSlot { writes: writes.clone(), is_given_back: false });
        assert_eq!(writes.lock().commands, COMMANDS_MAX - 2);
    }
}
