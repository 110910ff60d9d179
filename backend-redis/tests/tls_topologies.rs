//! Encrypted connections to a cluster and to what Sentinels name, and a socket of the file system.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{completion, job, queue, request};
use windlass_core::{Heartbeat, Queue, Settled, State, Store, WorkerInfo};
use windlass_redis::RedisBackend;
use windlass_test_servers::RedisServer;

/// One life of a job, and news between two processes.
async fn works(url: &str) {
    let (backend, other) =
        (RedisBackend::connect(url).await.unwrap(), RedisBackend::connect(url).await.unwrap());
    let info = WorkerInfo::new("test", Duration::from_secs(60), vec![queue()]);
    let worker = backend.register(&info).await.unwrap().worker;
    other.insert(&[job()]).await.unwrap();
    let lease = backend.claim(&request(worker)).await.unwrap().leases.remove(0);
    let beat = backend.heartbeat(worker, &[lease.key]).await.unwrap();
    assert!(matches!(beat, Heartbeat::Alive { .. }), "{beat:?}");
    let settled = backend.settle(&[completion(&lease)]).await.unwrap();
    assert_eq!(settled, [Settled::Applied { state: State::Completed }]);
    // Histories and blobs have a connection of their own.
    assert!(!other.history(lease.key.job, None, 9).await.unwrap().events.is_empty());
    // The connection that hears of jobs is made meanwhile, so one hint may be lost.
    let (queues, hour) = ([queue()], Duration::from_secs(3_600));
    let wait = backend.wait(&queues, hour);
    let insert = async {
        loop {
            other.insert(&[job()]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        woken = wait => drop(woken.unwrap()),
        () = insert => {}
    }
}

#[cfg(feature = "tls")]
mod encrypted {
    use windlass_core::Error;
    use windlass_test_servers::{PATIENT, RedisCluster, RedisSentinels, RedisServer};

    use super::*;

    /// Namespaces in slots of several nodes.
    const NAMESPACES: [&str; 4] = ["a", "b", "c", "jobs"];

    async fn refused(url: &str, password: &str) {
        let error = RedisBackend::connect(url).await.unwrap_err();
        let Error::Config(told) = &error else { panic!("{error:?}") };
        assert!(told.contains("certificate of"), "{told}");
        assert!(!format!("{error:?}").contains(password), "{error:?}");
    }

    #[tokio::test]
    async fn a_cluster() {
        let cluster = RedisCluster::start(RedisServer::builder().tls(), 0, PATIENT).await.unwrap();
        let ca = cluster.ca_certificate().unwrap().display();
        let mut owners = std::collections::BTreeSet::new();
        for namespace in NAMESPACES {
            works(&format!("{}&ca={ca}", cluster.url(namespace))).await;
            owners.insert(cluster.owner(namespace).await.unwrap().port());
        }
        assert!(owners.len() > 1, "all are on one node");
        refused(&cluster.url("jobs"), cluster.nodes()[0].password()).await;
    }

    #[tokio::test]
    async fn a_service_under_sentinels() {
        let all = RedisSentinels::start(RedisServer::builder().tls(), 1, PATIENT).await.unwrap();
        let ca = all.ca_certificate().unwrap().display();
        works(&format!("{}&ca={ca}&wait_replicas=1&wait_timeout=20s", all.url("jobs"))).await;
        refused(&all.url("jobs"), all.servers()[0].password()).await;
    }
}

/// Its login stands in parameters.
#[tokio::test]
async fn a_socket() {
    let server = RedisServer::builder().setting("unixsocket", "redis.sock");
    let server = server.setting("unixsocketperm", "777").start().await.unwrap();
    let path = server.folder().join("redis.sock");
    let url = format!("redis+unix://{}?namespace=jobs&pass=", path.display());
    works(&format!("{url}{}", server.password())).await;
    let error = RedisBackend::connect(&format!("{url}hunter2")).await.unwrap_err();
    let told = format!("{error} {error:?}");
    assert!(told.contains("does not let the user"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}
