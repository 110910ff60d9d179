//! Asks nodes of a cluster who owns the slot of a namespace.

use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, ErrorKind, RedisError, Value};

use super::{ask, best, host_of};
use crate::link::Reply;
use crate::wire::{int, list, text};

/// How many nodes are asked at once.
const ASKED: usize = 5;
/// How many nodes are remembered.
const REMEMBERED: usize = 64;

type Address = (String, u16);

/// What a node says.
#[derive(Debug, PartialEq)]
pub(crate) struct Found {
    pub(super) owner: Address,
    /// Everybody in the cluster.
    pub(super) nodes: Vec<Address>,
}

/// Whom to ask: some of those that are known, in any order, and not the one that just failed unless there is no other.
pub(super) fn candidates(
    seeds: &[ConnectionInfo],
    nodes: Vec<ConnectionAddr>,
    suspect: Option<ConnectionAddr>,
) -> Vec<ConnectionAddr> {
    let seeds = seeds.iter().map(|seed| seed.addr().clone());
    let mut known: Vec<ConnectionAddr> = Vec::new();
    for node in nodes.into_iter().chain(seeds) {
        if !known.contains(&node) {
            known.push(node);
        }
    }
    fastrand::shuffle(&mut known);
    if let Some(suspect) = suspect
        && known.len() > 1
    {
        known.retain(|node| *node != suspect);
    }
    known.truncate(ASKED);
    known
}

/// The owner of the slot.
pub(super) async fn owner(
    namespace: &str,
    asked: Vec<ConnectionInfo>,
    within: Duration,
) -> Reply<Found> {
    let (mut slot, mut slots) = (redis::cmd("CLUSTER"), redis::cmd("CLUSTER"));
    slot.arg("KEYSLOT").arg(namespace);
    slots.arg("SLOTS");
    let commands = [slot, slots];
    let asked = asked.into_iter().map(async |node| {
        let host = host_of(node.addr());
        let answers: [Value; 2] =
            ask(node, within, &commands).await?.try_into().map_err(|_| odd())?;
        let [slot, slots] = answers;
        let slot = int(&slot).map_err(|_| odd())?;
        read(slots, slot, &host).ok_or_else(odd)?.ok_or_else(nobody)
    });
    best(asked, within, Duration::ZERO, |_| 0).await
}

/// Ranges of slots, each with its owner and the replicas of it. Nothing when the slot is in none.
pub(crate) fn read(slots: Value, slot: i64, asked: &str) -> Option<Option<Found>> {
    let mut owner = None;
    let mut nodes = Vec::new();
    for range in list(slots).ok()? {
        let mut values = list(range).ok()?.into_iter();
        let (first, last) = (int(&values.next()?).ok()?, int(&values.next()?).ok()?);
        for (n, node) in values.enumerate() {
            let mut parts = list(node).ok()?.into_iter();
            let host = text(parts.next()?).ok().filter(|host| is_known(host));
            let port = u16::try_from(int(&parts.next()?).ok()?).ok()?;
            let address = (host.unwrap_or_else(|| asked.to_owned()), port);
            if n == 0 && (first..=last).contains(&slot) {
                owner = Some(address.clone());
            }
            if nodes.len() < REMEMBERED && !nodes.contains(&address) {
                nodes.push(address);
            }
        }
    }
    Some(owner.map(|owner| Found { owner, nodes }))
}

/// Whether a node told its name. One that didn't is where it was asked.
pub(super) fn is_known(host: &str) -> bool {
    !matches!(host, "" | "?")
}

fn nobody() -> RedisError {
    (ErrorKind::ClusterConnectionNotFound, "no node of the cluster owns the slot of the namespace")
        .into()
}

fn odd() -> RedisError {
    (ErrorKind::Parse, "the answer of a cluster's node has another shape").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Value {
        let value = |word: &str| match word.parse() {
            Ok(n) => Value::Int(n),
            Err(_) if word == "nil" => Value::Nil,
            Err(_) => Value::BulkString(word.into()),
        };
        Value::Array(text.split(' ').map(value).collect())
    }

    fn range(first: i64, last: i64, nodes: &[&str]) -> Value {
        let mut values = vec![Value::Int(first), Value::Int(last)];
        values.extend(nodes.iter().map(|node| words(node)));
        Value::Array(values)
    }

    #[test]
    fn the_owner_is_the_first_of_the_range() {
        let slots = || {
            Value::Array(vec![
                range(0, 99, &["a 1 id", "b 2 id"]),
                range(200, 300, &["nil 3 id", "? 4 id"]),
            ])
        };
        let node = |host: &str, port| (host.to_owned(), port);
        let nodes = vec![node("a", 1), node("b", 2), node("asked", 3), node("asked", 4)];
        let found = read(slots(), 99, "asked").unwrap().unwrap();
        assert_eq!(found, Found { owner: node("a", 1), nodes });
        assert_eq!(read(slots(), 200, "asked").unwrap().unwrap().owner, node("asked", 3));
        assert_eq!(read(slots(), 100, "asked"), Some(None));
        assert_eq!(read(Value::Okay, 1, "asked"), None);
    }

    #[test]
    fn who_failed_is_not_asked_unless_there_is_no_other() {
        let node = |port| ConnectionAddr::Tcp("a".to_owned(), port);
        let info = |port| redis::IntoConnectionInfo::into_connection_info(node(port)).unwrap();
        assert_eq!(candidates(&[info(1)], vec![], Some(node(1))), [node(1)]);
        assert_eq!(candidates(&[info(1)], vec![node(1), node(2)], Some(node(1))), [node(2)]);
        let many = (0..40).map(node).collect();
        assert_eq!(candidates(&[info(1)], many, None).len(), ASKED);
    }
}
