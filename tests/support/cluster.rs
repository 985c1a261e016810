//! A Redis Cluster of several processes: three primaries, each with a replica or without, whose
//! nodes a test can freeze, kill and start again, and whose slots it can move.

use std::time::{Duration, Instant};

use holdfast::domain::{EventId, Partition};

use super::eventually;
use super::servers::{Server, private_cluster_node};

/// Primaries of a cluster.
pub const PRIMARIES: usize = 3;
/// Slots of any cluster.
const SLOTS: u32 = 16_384;
/// Time after which a silent node counts as failed, ms.
const NODE_TIMEOUT_MS: &str = "1000";
/// Bound of any agreement between nodes on a busy machine.
const AGREEMENT: Duration = Duration::from_secs(60);
/// Keys of one MIGRATE.
const KEYS_AT_ONCE: &str = "10";
/// Bound of one MIGRATE, ms.
const MIGRATE_TIMEOUT_MS: &str = "5000";

/// A running cluster. Ends when dropped.
pub struct RedisCluster {
    /// The first [`PRIMARIES`] began as primaries; replica `PRIMARIES + n` follows primary `n`.
    nodes: Vec<Server>,
}

impl RedisCluster {
    /// Starts three primaries, with a replica each if requested.
    pub async fn start(with_replicas: bool) -> Self {
        let count = if with_replicas { 2 * PRIMARIES } else { PRIMARIES };
        let nodes: Vec<Server> = (0..count).map(|_| private_cluster_node()).collect();
        let cluster = RedisCluster { nodes };
        for number in 0..count {
            cluster.configure(number);
            let epoch = (number + 1).to_string();
            cluster.expect_ok(number, &["CLUSTER", "SET-CONFIG-EPOCH", &epoch]);
        }
        for number in 0..PRIMARIES {
            let bound = |n: usize| n as u32 * SLOTS / PRIMARIES as u32;
            let (first, last) = (bound(number).to_string(), (bound(number + 1) - 1).to_string());
            cluster.expect_ok(number, &["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
        }
        for number in 1..count {
            let (port, bus) = (cluster.nodes[number].port().to_string(), cluster.bus_port(number));
            cluster.expect_ok(0, &["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        let known = format!("cluster_known_nodes:{count}");
        cluster.all_say(&["CLUSTER", "INFO"], &known).await;
        for number in PRIMARIES..count {
            let id = cluster.id(number - PRIMARIES);
            eventually("a node knows its primary", AGREEMENT, async || {
                cluster.nodes[number].command(&["CLUSTER", "REPLICATE", &id]) == "+OK"
            })
            .await;
        }
        cluster.all_say(&["CLUSTER", "INFO"], "cluster_state:ok").await;
        for replica in PRIMARIES..count {
            cluster.says(replica, &["INFO", "replication"], "master_link_status:up").await;
        }
        cluster
    }

    /// Returns the address of clients: all first primaries.
    pub fn url(&self) -> String {
        let ports: Vec<String> =
            self.nodes[..PRIMARIES].iter().map(|node| node.port().to_string()).collect();
        let (first, others) = ports.split_first().expect("there are primaries");
        let others: Vec<String> =
            others.iter().map(|port| format!("node=127.0.0.1:{port}")).collect();
        format!("redis-cluster://127.0.0.1:{first}?{}", others.join("&"))
    }

    /// One of its nodes.
    pub fn node(&self, number: usize) -> &Server {
        &self.nodes[number]
    }

    /// The first primary whose slots have a partition at the cluster's beginning.
    pub fn first_primary_of(&self, partition: Partition) -> usize {
        let slot = self.slot(partition);
        (0..PRIMARIES).find(|n| slot < (*n as u32 + 1) * SLOTS / PRIMARIES as u32).expect("a slot")
    }

    /// The same for an event in so many partitions.
    pub fn first_primary_of_event(&self, event: u64, partitions: u16) -> usize {
        self.first_primary_of(EventId(event as u32).partition(partitions))
    }

    /// The slot of a partition's keys.
    pub fn slot(&self, partition: Partition) -> u32 {
        let key = format!("{{p{:02}}}", partition.0);
        // Any node that runs can tell.
        let answers = self.nodes.iter().filter(|node| node.is_running());
        let node = answers.into_iter().next().expect("a node runs");
        let answer = node.command(&["CLUSTER", "KEYSLOT", &key]);
        answer.strip_prefix(':').expect("a number").parse().expect("a slot")
    }

    /// Starts a node again on its data.
    pub fn restart(&self, number: usize) {
        self.nodes[number].restart();
        self.configure(number);
    }

    /// Waits until each slot is served again, by whatever node, as the other nodes see it.
    pub async fn all_served(&self) {
        let running: Vec<usize> =
            (0..self.nodes.len()).filter(|n| self.nodes[*n].is_running()).collect();
        for number in running {
            self.says(number, &["CLUSTER", "INFO"], "cluster_state:ok").await;
            self.says(number, &["CLUSTER", "INFO"], "cluster_slots_fail:0").await;
        }
    }

    /// Moves a slot with its keys from one primary to another, as `redis-cli --cluster reshard`
    /// does; how long its keys were on both.
    pub async fn move_slot(&self, slot: u32, from: usize, to: usize) -> Duration {
        let (from_id, to_id) = (self.id(from), self.id(to));
        let (slot, to_port) = (slot.to_string(), self.nodes[to].port().to_string());
        let began = Instant::now();
        self.expect_ok(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
        self.expect_ok(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
        let deadline = Instant::now() + AGREEMENT;
        loop {
            assert!(Instant::now() < deadline, "slot {slot} is not moved in time");
            let keys = self.nodes[from].list(&["CLUSTER", "GETKEYSINSLOT", &slot, KEYS_AT_ONCE]);
            if keys.is_empty() {
                break;
            }
            let head = ["MIGRATE", "127.0.0.1", &to_port, "", "0", MIGRATE_TIMEOUT_MS, "KEYS"];
            let words: Vec<&str> =
                head.into_iter().chain(keys.iter().map(String::as_str)).collect();
            // `NOKEY`: all of them lapsed meanwhile.
            let answer = self.nodes[from].command(&words);
            assert!(["+OK", "+NOKEY"].contains(&answer.as_str()), "{answer}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for number in [to, from] {
            self.expect_ok(number, &["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
        }
        began.elapsed()
    }

    fn configure(&self, number: usize) {
        for (name, value) in
            [("cluster-node-timeout", NODE_TIMEOUT_MS), ("cluster-require-full-coverage", "no")]
        {
            self.expect_ok(number, &["CONFIG", "SET", name, value]);
        }
    }

    fn id(&self, number: usize) -> String {
        self.nodes[number].command_value(&["CLUSTER", "MYID"])
    }

    fn bus_port(&self, number: usize) -> String {
        let known = self.nodes[number].command_lines(&["CLUSTER", "NODES"]);
        let own = known.iter().find(|line| line.contains("myself")).expect("it knows itself");
        let (_, bus) = own.split_once('@').expect("ip:port@bus");
        bus.split([' ', ',']).next().expect("a port").to_owned()
    }

    fn expect_ok(&self, number: usize, words: &[&str]) {
        assert_eq!(self.nodes[number].command(words), "+OK", "{words:?}");
    }

    async fn all_say(&self, words: &[&str], line: &str) {
        for number in 0..self.nodes.len() {
            self.says(number, words, line).await;
        }
    }

    async fn says(&self, number: usize, words: &[&str], line: &str) {
        eventually(line, AGREEMENT, async || {
            self.nodes[number].command_lines(words).iter().any(|one| one == line)
        })
        .await;
    }
}
