//! Every key name, in one place.
//!
//! All keys of a partition share the hash tag `{pNN}`, so a script touches one slot and the same
//! code runs on one Redis, on Sentinel and on Redis Cluster:
//!
//! ```text
//! hf1:{p07}:event:1         hash    settings, state, counters of event 1
//! hf1:{p07}:seats:1         string  the inventory, one byte a seat
//! hf1:{p07}:holders:1       hash    seat → booking
//! hf1:{p07}:bookings:1      hash    booking → record
//! hf1:{p07}:deadlines:1     zset    booking → hold deadline, ms
//! hf1:{p07}:leases:1        zset    booking → end of confirmation lease, ms
//! hf1:{p07}:users:1         hash    user → seats held and owned
//! hf1:{p07}:ended:1         zset    booking → when it ended without a sale, ms
//! hf1:{p07}:requests:1      hash    digest → booking and fingerprint, of paid and sold bookings
//! hf1:{p07}:idempotency:1:d string  digest → booking and fingerprint
//! hf1:{p07}:waiting_room:1  hash    settings and books of event 1's waiting room
//! hf1:{p07}:waiting_room_numbers:1  hash  user → number, and longest end of its session
//! hf1:{p07}:waiting_room_sessions:1 zset  user → end of session, ms
//! hf1:{p07}:waiting_room_owed:1     zset  user → number and time: first of the next batch
//! hf1:{p07}:waiting_room_left:1     zset  number → place, of those who left it unserved
//! hf1:{p07}:waiting_room_leavers:1  list  numbers given up, the newest last
//! hf1:{p07}:events          set     loaded events
//! hf1:{p07}:log             stream  the booking log
//! hf1:{p07}:link            string  position and tag of the log's newest entry
//! hf1:{p07}:dead_letters    stream  entries the worker gave up on
//! hf1:{p07}:replication     string  written so that its replication can be checked
//! hf1:{p11}:limits:user:ann hash    kind and rule → what was counted; also `limits:address:…` and
//!                                   `limits:user_event:<event>:<user>`, beside its user
//! hf1:{p07}:socket_ticket:n string  a used socket ticket, until it expires
//! hf1:{p07}:activity:1:n    hash    process and step → what it counted, for operators; n: the window
//! hf1:{p07}:refusals:1      hash    process → requests it refused in all, for operators
//! hf1:{p00}:gates           string  changes with the gates' configuration
//! ```

use crate::domain::{EventId, Partition, Subject};

/// Names keys under one namespace (`hf1` unless configured: the 1 is the format's version).
#[derive(Clone, Debug)]
pub struct Keys {
    namespace: String,
    partitions: u16,
}

impl Keys {
    /// Keys of `partitions` partitions under `namespace`.
    pub fn new(namespace: &str, partitions: u16) -> Self {
        Keys { namespace: namespace.to_owned(), partitions }
    }

    /// How many partitions there are.
    pub fn partitions(&self) -> u16 {
        self.partitions
    }

    /// All partitions, in order.
    pub fn all_partitions(&self) -> impl Iterator<Item = Partition> + use<> {
        (0..self.partitions).map(Partition)
    }

    /// The partition of an event.
    pub fn partition_of(&self, event: EventId) -> Partition {
        event.partition(self.partitions)
    }

    fn key(&self, partition: Partition, rest: &str) -> String {
        format!("{}:{{p{:02}}}:{rest}", self.namespace, partition.0)
    }

    /// The booking log.
    pub fn log(&self, partition: Partition) -> String {
        self.key(partition, "log")
    }

    /// Position and tag of the log's newest entry.
    pub fn link(&self, partition: Partition) -> String {
        self.key(partition, "link")
    }

    /// Entries the worker gave up on.
    pub fn dead_letters(&self, partition: Partition) -> String {
        self.key(partition, "dead_letters")
    }

    /// What is written so that its replication can be checked.
    pub fn replication(&self, partition: Partition) -> String {
        self.key(partition, "replication")
    }

    /// What changes with the gates' configuration.
    pub fn gates(&self) -> String {
        self.key(Partition(0), "gates")
    }

    /// The loaded events of a partition.
    pub fn events(&self, partition: Partition) -> String {
        self.key(partition, "events")
    }

    /// The mark of a used socket ticket of an event.
    pub fn socket_ticket(&self, event: EventId, nonce: &str) -> String {
        self.key(self.partition_of(event), &format!("socket_ticket:{nonce}"))
    }

    fn event_key(&self, name: &str, event: EventId) -> String {
        self.key(self.partition_of(event), &format!("{name}:{event}"))
    }

    /// An event's taken seats and their bookings.
    pub fn holders(&self, event: EventId) -> String {
        self.event_key("holders", event)
    }

    /// An event's bookings.
    pub fn bookings(&self, event: EventId) -> String {
        self.event_key("bookings", event)
    }

    /// Bookings of an event by the end of their confirmation lease.
    pub fn leases(&self, event: EventId) -> String {
        self.event_key("leases", event)
    }

    /// Seats each user holds and owns in an event.
    pub fn users(&self, event: EventId) -> String {
        self.event_key("users", event)
    }

    /// Bookings of an event that ended without a sale, by when they did.
    pub fn ended(&self, event: EventId) -> String {
        self.event_key("ended", event)
    }

    /// The requests of an event's bookings that are being paid for or sold, by their digest.
    pub fn requests(&self, event: EventId) -> String {
        self.event_key("requests", event)
    }

    /// One caller's idempotency record.
    pub fn idempotency(&self, event: EventId, digest: &str) -> String {
        self.key(self.partition_of(event), &format!("idempotency:{event}:{digest}"))
    }

    /// A window of an event's series for operators.
    pub fn activity(&self, event: EventId, window: i64) -> String {
        self.event_key("activity", event) + &format!(":{window}")
    }

    /// The requests of an event that processes refused, for operators.
    pub fn refusals(&self, event: EventId) -> String {
        self.event_key("refusals", event)
    }

    /// The partition in which a subject of limits is counted.
    pub fn partition_of_subject(&self, subject: &Subject) -> Partition {
        subject.partition(self.partitions)
    }

    /// What limits have counted for a subject.
    pub fn limits(&self, subject: &Subject) -> String {
        self.key(self.partition_of_subject(subject), &format!("limits:{subject}"))
    }

    /// A key of an event by the name it has in the scripts' headers. Those of the waiting room
    /// begin with `room`.
    pub(super) fn named(&self, name: &str, event: EventId) -> String {
        match name.strip_prefix("room") {
            Some(rest) => self.event_key(&format!("waiting_room{rest}"), event),
            None => self.event_key(name, event),
        }
    }

    /// The keys that every script about bookings declares, in this order.
    pub fn event_keys(&self, event: EventId) -> Vec<String> {
        let partition = self.partition_of(event);
        let mut keys: Vec<String> =
            ["event", "seats", "holders", "bookings", "deadlines", "leases", "users", "ended"]
                .iter()
                .map(|name| self.event_key(name, event))
                .collect();
        keys.push(self.log(partition));
        keys.push(self.link(partition));
        keys.push(self.requests(event));
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_an_event_share_one_hash_tag() {
        let keys = Keys::new("hf1", 16);
        let mut all = keys.event_keys(EventId(1));
        assert_eq!(all[0], "hf1:{p07}:event:1");
        all.push(keys.idempotency(EventId(1), "d"));
        all.push(keys.events(keys.partition_of(EventId(1))));
        assert!(all.iter().all(|key| key.starts_with("hf1:{p07}:")));
    }
}
