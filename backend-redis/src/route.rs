//! Which server a connection leads to: the one of the options, the master that Sentinel names, or the owner of the namespace's slot in a cluster.
//!
//! A namespace is in one slot, so a plain connection to its owner is all that a cluster takes. Who owns it is found anew for each connection, and
//! whatever says that a connection leads to the wrong server ends it. See `docs/design/0015-redis-sentinel-and-cluster.md`.

pub(crate) mod cluster;
pub(crate) mod sentinel;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, RedisError,
    Value,
};
use tokio::time::{Instant, timeout_at};

use crate::link::Reply;
use crate::options::{Nodes, RedisOptions};

/// The way to the server of a namespace.
pub(crate) struct Route {
    connect: ConnectionInfo,
    nodes: Nodes,
    /// The namespace in braces.
    namespace: String,
    learnt: Mutex<Learnt>,
}

/// What connections told of the others.
#[derive(Default)]
struct Learnt {
    /// Whom a server named as the owner of the slot.
    moved: Option<ConnectionAddr>,
    /// Who failed last: it is not asked who owns the slot.
    suspect: Option<ConnectionAddr>,
    /// The nodes of the cluster when it was asked last.
    nodes: Vec<ConnectionAddr>,
}

impl Route {
    pub(crate) fn new(options: &RedisOptions, namespace: String) -> Self {
        let (connect, nodes) = (options.connect.clone(), options.nodes.clone());
        Self { connect, nodes, namespace, learnt: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Learnt> {
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds the server and connects to it; each of the two takes no longer than the time for a connection.
    pub(crate) async fn connect(
        &self,
        within: Duration,
        config: &AsyncConnectionConfig,
    ) -> Reply<(MultiplexedConnection, ConnectionAddr)> {
        let client = self.find(within).await?;
        let address = client.get_connection_info().addr().clone();
        let connected = client.get_multiplexed_async_connection_with_config(config).await;
        let mut conn = connected.inspect_err(|_| self.blame(&address))?;
        if let Nodes::Sentinel { .. } = self.nodes {
            sentinel::check_role(&mut conn).await?;
        }
        Ok((conn, address))
    }

    /// Finds the server.
    pub(crate) async fn find(&self, within: Duration) -> Reply<Client> {
        let address = match &self.nodes {
            Nodes::One => return Client::open(self.connect.clone()),
            Nodes::Sentinel { service, sentinels } => {
                sentinel::master(service, sentinels, within).await?
            }
            Nodes::Cluster { seeds } => {
                let (moved, suspect, nodes) = {
                    let mut learnt = self.lock();
                    (learnt.moved.take(), learnt.suspect.take(), learnt.nodes.clone())
                };
                if let Some(moved) = moved {
                    return self.client(moved);
                }
                let asked = cluster::candidates(seeds, nodes, suspect);
                let asked = asked.into_iter().map(|addr| self.connect.clone().set_addr(addr));
                let found = cluster::owner(&self.namespace, asked.collect(), within).await?;
                let nodes = found.nodes.into_iter();
                self.lock().nodes = nodes.map(|(host, port)| self.at(host, port)).collect();
                found.owner
            }
        };
        self.client(self.at(address.0, address.1))
    }

    fn client(&self, address: ConnectionAddr) -> Reply<Client> {
        Client::open(self.connect.clone().set_addr(address))
    }

    /// An address that is reached as the others are.
    fn at(&self, host: String, port: u16) -> ConnectionAddr {
        match self.connect.addr() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: *insecure,
                tls_params: tls_params.clone(),
            },
            _ => ConnectionAddr::Tcp(host, port),
        }
    }

    /// A connection to that address failed.
    pub(crate) fn blame(&self, address: &ConnectionAddr) {
        self.lock().suspect = Some(address.clone());
    }

    /// Follows a server that names the owner of the slot. Answers whether it did.
    pub(crate) fn follow(&self, error: &RedisError, from: &ConnectionAddr) -> bool {
        if !matches!(self.nodes, Nodes::Cluster { .. })
            || error.kind() != ErrorKind::Server(redis::ServerErrorKind::Moved)
        {
            return false;
        }
        let named = error.redirect_node().and_then(|(address, _)| address.rsplit_once(':'));
        let Some((host, port)) = named.and_then(|(host, port)| Some((host, port.parse().ok()?)))
        else {
            return false;
        };
        let host = if cluster::is_known(host) { host.to_owned() } else { host_of(from) };
        self.lock().moved = Some(self.at(host, port));
        true
    }
}

fn host_of(address: &ConnectionAddr) -> String {
    match address {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host.clone(),
        _ => String::new(),
    }
}

/// Asks a server.
async fn ask(info: ConnectionInfo, within: Duration, commands: &[Cmd]) -> Reply<Vec<Value>> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(within))
        .set_response_timeout(Some(within));
    let mut conn =
        Client::open(info)?.get_multiplexed_async_connection_with_config(&config).await?;
    let mut answers = Vec::with_capacity(commands.len());
    for command in commands {
        answers.push(command.query_async(&mut conn).await?);
    }
    Ok(answers)
}

/// The best of the answers: once there is one, the others have a little time to pass it.
async fn best<T>(
    asked: impl IntoIterator<Item = impl Future<Output = Reply<T>>>,
    within: Duration,
    grace: Duration,
    rank: impl Fn(&T) -> u64,
) -> Reply<T> {
    let mut asked: FuturesUnordered<_> = asked.into_iter().collect();
    let mut deadline = Instant::now() + within;
    let mut found = None;
    let mut failed = None;
    while let Ok(Some(answer)) = timeout_at(deadline, asked.next()).await {
        match answer {
            Ok(answer) => {
                if found.as_ref().is_none_or(|best| rank(best) < rank(&answer)) {
                    found = Some(answer);
                }
                deadline = deadline.min(Instant::now() + grace);
                if grace.is_zero() {
                    break;
                }
            }
            Err(error) => failed = Some(worse(failed, error)),
        }
    }
    let silent = || std::io::Error::from(std::io::ErrorKind::TimedOut).into();
    found.ok_or_else(|| failed.unwrap_or_else(silent))
}

/// Of two errors the one that tells more: that a server can't be reached says least.
fn worse(first: Option<RedisError>, second: RedisError) -> RedisError {
    match first {
        Some(first) if second.is_io_error() => first,
        _ => second,
    }
}

#[cfg(test)]
mod tests;
