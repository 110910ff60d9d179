//! Asks Sentinels for the master of a service.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{ConnectionInfo, ErrorKind, RedisError, Value};

use super::{ask, best};
use crate::link::Reply;
use crate::wire::{bytes, list, text};

/// How long the other Sentinels have once one has answered: it may not have heard of the last failover.
const GRACE: Duration = Duration::from_millis(200);

/// What a Sentinel says.
pub(crate) struct Named {
    address: (String, u16),
    /// Grows with each failover.
    epoch: u64,
}

/// The address of the service's master.
pub(super) async fn master(
    service: &str,
    sentinels: &[ConnectionInfo],
    within: Duration,
) -> Reply<(String, u16)> {
    let mut command = redis::cmd("SENTINEL");
    command.arg("MASTER").arg(service);
    let command = [command];
    let asked = sentinels.iter().map(async |sentinel| {
        let answer = ask(sentinel.clone(), within, &command).await.map_err(unknown)?;
        answer.into_iter().next().and_then(read).ok_or_else(odd)
    });
    Ok(best(asked, within, GRACE, |named| named.epoch).await?.address)
}

/// Names and values in turn.
pub(crate) fn read(answer: Value) -> Option<Named> {
    let mut fields = match answer {
        Value::Map(pairs) => pairs,
        other => {
            let mut values = list(other).ok()?.into_iter();
            std::iter::from_fn(|| Some((values.next()?, values.next()?))).collect()
        }
    };
    let mut field = |name: &str| {
        let found = fields.iter_mut().find(|(key, _)| is(key, name))?;
        text(std::mem::replace(&mut found.1, Value::Nil)).ok()
    };
    let address = (field("ip")?, field("port")?.parse().ok()?);
    Some(Named { address, epoch: field("config-epoch")?.parse().ok()? })
}

fn is(key: &Value, name: &str) -> bool {
    bytes(key.clone()).is_ok_and(|key| key == name.as_bytes())
}

/// A Sentinel that does not know the service says so with a plain error.
fn unknown(error: RedisError) -> RedisError {
    if error.detail().is_some_and(|told| told.contains("No such master")) {
        return (ErrorKind::MasterNameNotFoundBySentinel, "Sentinel does not know the service")
            .into();
    }
    error
}

fn odd() -> RedisError {
    (ErrorKind::Parse, "the answer of Sentinel has another shape").into()
}

/// A master that was just demoted may still be named, and one that was just promoted may not know it yet.
pub(super) async fn check_role(conn: &mut MultiplexedConnection) -> Reply<()> {
    let told: String = redis::cmd("INFO").arg("replication").query_async(conn).await?;
    if told.lines().any(|line| line.trim() == "role:master") {
        return Ok(());
    }
    Err((ErrorKind::NoValidReplicasFoundBySentinel, "the server that Sentinel names is a replica")
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        let words = ["name", "jobs", "ip", "10.0.0.1", "port", "6380", "config-epoch", "7"];
        let values: Vec<_> = words.map(|word| Value::BulkString(word.into())).into();
        let named = read(Value::Array(values.clone())).unwrap();
        assert_eq!((named.address, named.epoch), (("10.0.0.1".to_owned(), 6380), 7));
        assert!(read(Value::Array(values[..6].to_vec())).is_none());
        assert!(read(Value::Okay).is_none());
    }
}
