//! The slot maps that the nodes of a Cluster return.

use fred::types::Value;

use crate::redis::connect::NodeAddress;
use crate::redis::error::RedisError;
use crate::redis::value::{integer, list, text};

/// One node's map of all slots (`CLUSTER SLOTS`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotMap {
    ranges: Vec<Range>,
    /// Every node in the map, replicas too.
    pub nodes: Vec<NodeAddress>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Range {
    first: i64,
    last: i64,
    primary: NodeAddress,
}

impl SlotMap {
    /// Parses the reply of the node at `source`.
    pub fn parse(reply: Value, source: &NodeAddress) -> Result<Self, RedisError> {
        let mut map = SlotMap::default();
        for row in list(Some(reply))? {
            let mut row = list(Some(row))?.into_iter();
            let first = integer(&row.next().unwrap_or(Value::Null))?;
            let last = integer(&row.next().unwrap_or(Value::Null))?;
            let mut is_primary = true;
            for node in row {
                let address = node_address(node, source)?;
                if std::mem::take(&mut is_primary) {
                    map.ranges.push(Range { first, last, primary: address.clone() });
                }
                if !map.nodes.contains(&address) {
                    map.nodes.push(address);
                }
            }
        }
        Ok(map)
    }

    /// The primary of a slot; `None` if no node has it.
    pub fn primary(&self, slot: u16) -> Option<&NodeAddress> {
        let slot = i64::from(slot);
        self.ranges
            .iter()
            .find(|range| (range.first..=range.last).contains(&slot))
            .map(|range| &range.primary)
    }
}

/// Parses `[host, port, id, …]`. An unknown host is the source's own.
fn node_address(node: Value, source: &NodeAddress) -> Result<NodeAddress, RedisError> {
    let mut node = list(Some(node))?.into_iter();
    let host = match node.next() {
        Some(Value::Null) | None => String::new(),
        host => text(host)?,
    };
    let port = integer(&node.next().unwrap_or(Value::Null))?;
    let port = u16::try_from(port).map_err(|_| RedisError::Unexpected(format!("port {port}")))?;
    Ok(address(&host, port, source))
}

/// A node's address in a reply of the node at `source`.
pub(super) fn address(host: &str, port: u16, source: &NodeAddress) -> NodeAddress {
    let host = match host {
        "" | "?" => source.host.clone(),
        host if host.contains(':') && !host.starts_with('[') => format!("[{host}]"),
        host => host.to_owned(),
    };
    NodeAddress { host, port }
}

/// The primary of a slot in most of these maps. On a tie the present one stays if it answers;
/// otherwise the other one is the result of a failover.
pub fn agreed_primary(
    maps: &[SlotMap],
    slot: u16,
    present: Option<&NodeAddress>,
    present_answers: bool,
) -> Option<NodeAddress> {
    let mut named: Vec<(&NodeAddress, usize)> = Vec::new();
    for primary in maps.iter().filter_map(|map| map.primary(slot)) {
        match named.iter_mut().find(|one| one.0 == primary) {
            Some(one) => one.1 += 1,
            None => named.push((primary, 1)),
        }
    }
    let rank = |one: &(&NodeAddress, usize)| (one.1, (Some(one.0) == present) == present_answers);
    named.into_iter().max_by_key(rank).map(|one| one.0.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> NodeAddress {
        NodeAddress { host: host.into(), port }
    }

    fn node(host: Value, port: i64) -> Value {
        Value::Array(vec![host, Value::Integer(port), Value::from("id")])
    }

    fn map(primary: &NodeAddress) -> SlotMap {
        let ranges = vec![Range { first: 0, last: 16_383, primary: primary.clone() }];
        SlotMap { ranges, nodes: vec![primary.clone()] }
    }

    #[test]
    fn reply_is_read_with_replicas_and_unknown_hosts() {
        let range = |first, last, nodes: Vec<Value>| {
            let mut row = vec![Value::Integer(first), Value::Integer(last)];
            row.extend(nodes);
            Value::Array(row)
        };
        let reply = Value::Array(vec![
            range(0, 5, vec![node("10.0.0.1".into(), 1), node("10.0.0.2".into(), 2)]),
            range(6, 9, vec![node(Value::Null, 3)]),
            range(11, 11, vec![node("fe80::1".into(), 4)]),
        ]);
        let map = SlotMap::parse(reply, &at("seed", 9)).unwrap();
        assert_eq!(map.primary(5), Some(&at("10.0.0.1", 1)));
        assert_eq!(map.primary(6), Some(&at("seed", 3)));
        assert_eq!(map.primary(10), None);
        assert_eq!(map.primary(11), Some(&at("[fe80::1]", 4)));
        assert!(map.nodes.contains(&at("10.0.0.2", 2)));
        assert!(SlotMap::parse(Value::from("no"), &at("seed", 9)).is_err());
    }

    #[test]
    fn majority_names_the_primary() {
        let (old, new) = (at("old", 1), at("new", 2));
        let agreed = |maps: &[&NodeAddress], answers| {
            let maps: Vec<SlotMap> = maps.iter().map(|primary| map(primary)).collect();
            agreed_primary(&maps, 7, Some(&old), answers).unwrap()
        };
        assert_eq!(agreed(&[&new, &new, &old], true), new);
        assert_eq!(agreed(&[&new, &old, &old], false), old);
        assert_eq!(agreed(&[&new, &old], true), old);
        assert_eq!(agreed(&[&new, &old], false), new);
        assert_eq!(agreed_primary(&[], 7, Some(&old), true), None);
    }
}
