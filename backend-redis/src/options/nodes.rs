//! Where the servers are, and how they prove who they are.

use redis::{ConnectionInfo, RedisConnectionInfo};
use windlass_core::Result;

use super::tls::Certificates;
use super::{RedisOptions, config, place, tls};

/// The most nodes that are named.
const MOST: usize = 64;

/// What stands between the options and the server of a namespace.
#[derive(Clone)]
pub(crate) enum Nodes {
    /// Nothing: there is one server.
    One,
    /// Sentinels that watch over a service.
    Sentinel { service: String, sentinels: Vec<ConnectionInfo> },
    /// The nodes of a cluster that are asked first.
    Cluster { seeds: Vec<ConnectionInfo> },
}

impl RedisOptions {
    /// The master of a service that Sentinels watch over, found anew after each failover. `servers` is the login of the master and its replicas,
    /// which are reached by TLS when the first Sentinel is. Name all Sentinels.
    ///
    /// What a failover may lose is told in the guarantees: [`wait_replicas`](Self::wait_replicas) makes it less.
    ///
    /// # Errors
    /// [`Error::Config`](windlass_core::Error::Config) when there are no Sentinels or too many, or the name of the service is not plain.
    pub fn sentinel(
        service: impl Into<String>,
        sentinels: Vec<ConnectionInfo>,
        servers: RedisConnectionInfo,
    ) -> Result<Self> {
        let service = service.into();
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if service.is_empty() || !service.bytes().all(plain) {
            return Err(config(
                "the service that Sentinel watches over must be named, by letters, digits and `_`, `.` or `-`",
            ));
        }
        let first = first("Sentinels", &sentinels)?;
        let mut options = Self::new(first.set_redis_settings(servers));
        options.nodes = Nodes::Sentinel { service, sentinels };
        Ok(options)
    }

    /// A cluster, by some of its nodes; all of them take the login of the first. A namespace is in one slot and so on one node: use several
    /// namespaces to have jobs on several.
    ///
    /// # Errors
    /// [`Error::Config`](windlass_core::Error::Config) when there are no nodes or too many, or a database other than 0 is asked for.
    pub fn cluster(seeds: Vec<ConnectionInfo>) -> Result<Self> {
        let mut options = Self::new(first("nodes of the cluster", &seeds)?);
        if options.connect.redis_settings().db() != 0 {
            return Err(config("a cluster has no database but 0"));
        }
        options.nodes = Nodes::Cluster { seeds };
        Ok(options)
    }

    /// The certificates, in PEM, of the authorities that may have signed those of the servers, instead of the ones that the system trusts.
    ///
    /// # Errors
    /// [`Error::Config`](windlass_core::Error::Config) unless it holds such certificates, every server is reached by TLS, the driver's own options brought no
    /// certificates, and the cargo feature `tls` is on.
    pub fn ca_certificate(self, pem: impl Into<Vec<u8>>) -> Result<Self> {
        let certificates = Certificates { trusted: Some(pem.into()), ..self.certificates.clone() };
        self.with_certificates(certificates)
    }

    /// The client's own certificate (with those that lead to its authority) and its key, in PEM: servers with `tls-auth-clients yes`, which is their default, want one.
    ///
    /// # Errors
    /// As for [`ca_certificate`](Self::ca_certificate).
    pub fn client_certificate(
        self,
        pem: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Result<Self> {
        let own = Some((pem.into(), key.into()));
        let certificates = Certificates { own, ..self.certificates.clone() };
        self.with_certificates(certificates)
    }

    fn with_certificates(mut self, now: Certificates) -> Result<Self> {
        let before = &self.certificates;
        self.connect = tls::with(self.connect, before, &now)?;
        if let Nodes::Sentinel { sentinels: all, .. } | Nodes::Cluster { seeds: all } =
            &mut self.nodes
        {
            for node in all {
                *node = tls::with(node.clone(), before, &now)?;
            }
        }
        self.certificates = now;
        Ok(self)
    }

    /// The server or servers, for people.
    pub(crate) fn places(&self) -> String {
        let all = |nodes: &[ConnectionInfo]| nodes.iter().map(place).collect::<Vec<_>>().join(",");
        match &self.nodes {
            Nodes::One => place(&self.connect),
            Nodes::Sentinel { service, sentinels } => {
                format!("{service} by the Sentinels {}", all(sentinels))
            }
            Nodes::Cluster { seeds } => format!("the cluster {}", all(seeds)),
        }
    }
}

/// The way in which nodes are reached.
fn first(what: &str, nodes: &[ConnectionInfo]) -> Result<ConnectionInfo> {
    match nodes {
        [first, ..] if nodes.len() <= MOST => Ok(first.clone()),
        _ => Err(config(format!("1 to {MOST} {what} must be named, not {}", nodes.len()))),
    }
}
