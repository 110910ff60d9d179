//! How to reach the server.

mod nodes;
pub(crate) mod tls;
mod url;
mod wait;

use std::fmt;
use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, ProtocolVersion};
use windlass_core::{Error, Limits, Result};

pub(crate) use nodes::Nodes;
pub(crate) use wait::Copies;

/// The namespace unless another is chosen.
pub(crate) const DEFAULT_NAMESPACE: &str = "windlass";

/// Where the server is and how it is used.
///
/// ```
/// use windlass_redis::RedisOptions;
///
/// let options = RedisOptions::from_url("redis://cache.example/0?namespace=jobs")?;
/// assert_eq!(options.namespace_name(), "jobs");
/// # Ok::<(), windlass_core::Error>(())
/// ```
#[derive(Clone)]
pub struct RedisOptions {
    /// The login of the servers and how they are reached; with [`Nodes::One`] also where the server is.
    pub(crate) connect: ConnectionInfo,
    pub(crate) nodes: Nodes,
    certificates: tls::Certificates,
    pub(crate) namespace: String,
    pub(crate) limits: Limits,
    pub(crate) connect_timeout: Duration,
    pub(crate) response_timeout: Duration,
    pub(crate) listen: bool,
    pub(crate) copies: Copies,
    pub(crate) durability: Durability,
}

/// How much of what was answered must survive a crash of the server. It speaks of one server: what a failover to a replica loses is another matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// What the server's settings give, with a warning when that is not everything. Only a policy that evicts jobs is refused.
    #[default]
    AsConfigured,
    /// Everything: `appendonly yes` and `appendfsync always`, with `no-appendfsync-on-rewrite no`.
    Always,
    /// All but the last second or two: `appendonly yes`, synced each second or always.
    Seconds,
    /// Nothing: jobs may vanish with the server, and be evicted. The settings are not looked at.
    None,
}

impl RedisOptions {
    /// A server, by the driver's own options.
    #[must_use]
    pub fn new(connect: ConnectionInfo) -> Self {
        // Answers are read as this version of the protocol gives them.
        let login = connect.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
        Self {
            connect: connect.set_redis_settings(login),
            nodes: Nodes::One,
            certificates: tls::Certificates::default(),
            namespace: DEFAULT_NAMESPACE.to_owned(),
            limits: Limits::default(),
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(30),
            listen: true,
            copies: Copies::default(),
            durability: Durability::default(),
        }
    }

    /// Reads one of
    ///
    /// - `redis://user:password@host:port/database?…`;
    /// - `redis+sentinel://user:password@host:port,host:port/service/database?…`, see [`sentinel`](Self::sentinel): the hosts are the Sentinels, which have the
    ///   port 26379 unless told otherwise, and user and password are those of the servers that they watch over;
    /// - `redis+cluster://user:password@host:port,host:port?…`, see [`cluster`](Self::cluster);
    /// - `redis+unix:///path?…` for a socket, with `user`, `pass` and `db` as parameters.
    ///
    /// `rediss` instead of `redis` asks for TLS (with the cargo feature `tls`); certificates are always verified. Parameters are
    ///
    /// - `namespace=name`, see [`namespace`](Self::namespace);
    /// - `durability=always`, `seconds`, `as-configured` or `none`, see [`durability`](Self::durability);
    /// - `listen=off`, see [`listen`](Self::listen);
    /// - `connect_timeout=5s` and `response_timeout=30s` (or `500ms`), see [`connect_timeout`](Self::connect_timeout) and
    ///   [`response_timeout`](Self::response_timeout);
    /// - `ca=path`, a file for [`ca_certificate`](Self::ca_certificate);
    /// - `cert=path&key=path`, files for [`client_certificate`](Self::client_certificate);
    /// - `wait_replicas=1`, `wait_timeout=500ms` (or `2s`) and `wait_on_disk=on`, see [`wait_replicas`](Self::wait_replicas);
    /// - `sentinel_username=name` and `sentinel_password=secret`, the login of Sentinels that want one.
    ///
    /// # Errors
    /// [`Error::Config`] naming the part that is unknown or can't be used, or the missing feature; it never shows the URL or a value.
    pub fn from_url(url: &str) -> Result<Self> {
        url::read(url)
    }

    /// Limits on what callers pass.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How long a connection may take to be made. Default 5 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long an answer may take. After it the connection is given up, and the call fails with [`Error::Unavailable`]. Default 30 s.
    #[must_use]
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout;
        self
    }

    /// Whether a process that waits for jobs holds a connection that hears (`SUBSCRIBE`) of those that are added. Without it they are found by
    /// polling. Default true.
    #[must_use]
    pub fn listen(mut self, listen: bool) -> Self {
        self.listen = listen;
        self
    }

    /// How much of what was answered must survive a crash of the server. Settings of the server that give less are an error when opening. Default
    /// [`Durability::AsConfigured`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The namespace: every key of the library begins with it in braces, so that all of them are in one slot of a cluster. Applications that share a
    /// server use different ones. Default `windlass`.
    ///
    /// # Errors
    /// [`Error::Config`] unless it is 1 to 64 letters, digits and `_ . -`.
    pub fn namespace(mut self, name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if !(1..=64).contains(&name.len()) || !name.bytes().all(plain) {
            return Err(config(
                "the namespace must be 1 to 64 letters, digits and `_`, `.` or `-`",
            ));
        }
        self.namespace = name;
        Ok(self)
    }

    /// The namespace.
    #[must_use]
    pub fn namespace_name(&self) -> &str {
        &self.namespace
    }
}

impl fmt::Debug for RedisOptions {
    /// Tells no password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("address", &self.places())
            .field("database", &self.connect.redis_settings().db())
            .field("namespace", &self.namespace)
            .field("durability", &self.durability)
            .field("listen", &self.listen)
            .field("copies", &self.copies)
            .finish_non_exhaustive()
    }
}

/// Where a server is, for people.
pub(crate) fn place(connect: &ConnectionInfo) -> String {
    match connect.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            format!("{host}:{port}")
        }
        ConnectionAddr::Unix(path) => path.display().to_string(),
        _ => "an address".to_owned(),
    }
}

pub(crate) fn config(why: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::Config(why.into())
}

#[cfg(test)]
mod tests;
