//! The conformance suite on a cluster of three nodes, and on a server that three Sentinels name; as users who may do no more than what the README says.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use common::rights::{AS, rights};

use tokio::sync::OnceCell;
use windlass_core::conformance::{Harness, StorageHarness};
use windlass_core::{Backend, Limits, Storage, WorkerId};
use windlass_redis::{RedisBackend, RedisOptions};
use windlass_test_servers::{PATIENT, RedisBuilder, RedisCluster, RedisSentinels, RedisServer};

/// A name that no other case has; in the cluster each is on some node.
fn namespace() -> String {
    format!("case-{}", windlass_core::JobId::new())
}

/// Servers that all cases share. Nobody can break them, so nothing needs to survive.
trait Servers: Sized + Send + Sync + 'static {
    fn url(namespace: &str) -> impl Future<Output = String> + Send;

    /// The server that takes the writes of a namespace.
    fn server(namespace: &str) -> impl Future<Output = &'static RedisServer> + Send;
}

/// A server that need not outlive its machine, with a user who has the rights that the library needs, and more.
fn server(more: &str) -> RedisBuilder {
    let rules = format!("on >secret-word resetkeys {}{more}", rights("case-*").join(" "));
    RedisServer::builder().setting("appendfsync", "no").user("app", &rules)
}

struct Cluster;

impl Cluster {
    async fn shared() -> &'static RedisCluster {
        static SHARED: OnceCell<RedisCluster> = OnceCell::const_new();
        let node = server(" +cluster|slots +cluster|keyslot");
        let start = async || RedisCluster::start(node, 0, PATIENT).await.unwrap();
        SHARED.get_or_init(start).await
    }
}

impl Servers for Cluster {
    async fn url(namespace: &str) -> String {
        let cluster = Self::shared().await;
        let own = format!(":{}@", cluster.nodes()[0].password());
        cluster.url(namespace).replace(&own, AS)
    }

    async fn server(namespace: &str) -> &'static RedisServer {
        Self::shared().await.owner(namespace).await.unwrap()
    }
}

struct Sentinel;

impl Sentinel {
    async fn shared() -> &'static RedisSentinels {
        static SHARED: OnceCell<RedisSentinels> = OnceCell::const_new();
        let start = async || RedisSentinels::start(server(""), 1, PATIENT).await.unwrap();
        SHARED.get_or_init(start).await
    }
}

impl Servers for Sentinel {
    async fn url(namespace: &str) -> String {
        let sentinels = Self::shared().await;
        let own = format!(":{}@", sentinels.servers()[0].password());
        sentinels.url(namespace).replace(&own, AS)
    }

    async fn server(_: &str) -> &'static RedisServer {
        let sentinels = Self::shared().await;
        let primary = sentinels.primary().await.unwrap();
        sentinels.servers().iter().find(|server| server.port() == primary).unwrap()
    }
}

/// A namespace of its own.
struct Case<S> {
    namespace: String,
    options: RedisOptions,
    backend: Arc<RedisBackend>,
    on: std::marker::PhantomData<S>,
}

async fn open<S: Servers>(limits: Limits) -> Case<S> {
    let namespace = namespace();
    let url = S::url(&namespace).await;
    let options = RedisOptions::from_url(&url).unwrap().limits(limits);
    let backend = Arc::new(RedisBackend::open(options.clone()).await.unwrap());
    Case { namespace, options, backend, on: std::marker::PhantomData }
}

impl<S: Servers> Harness for Case<S> {
    type Backend = RedisBackend;

    async fn open(limits: Limits) -> Self {
        open(limits).await
    }

    fn backend(&self) -> Arc<RedisBackend> {
        self.backend.clone()
    }

    async fn second(&self) -> Option<Arc<RedisBackend>> {
        Some(Arc::new(RedisBackend::open(self.options.clone()).await.unwrap()))
    }

    async fn expire(&self, worker: WorkerId) {
        let url = S::server(&self.namespace).await.base_url();
        let namespace = format!("{{{}}}", self.namespace);
        common::expire(&mut common::patient(url).await, &namespace, worker).await;
    }
}

impl<S: Servers> StorageHarness for Case<S> {
    async fn open() -> Self {
        open(Limits::default()).await
    }

    fn storage(&self) -> Arc<dyn Storage> {
        self.backend.storage()
    }
}

mod cluster {
    use super::*;

    windlass_core::conformance!(Case<Cluster>);

    mod storage {
        use super::*;

        windlass_core::conformance_storage!(Case<Cluster>);
    }
}

mod sentinel {
    use super::*;

    windlass_core::conformance!(Case<Sentinel>);

    mod storage {
        use super::*;

        windlass_core::conformance_storage!(Case<Sentinel>);
    }
}
