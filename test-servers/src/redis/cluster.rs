//! A cluster of servers.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::builder::RedisBuilder;
use super::server::{PASSWORD, RedisServer};
use crate::binaries;
use crate::error::{Error, Result, blocking};
use crate::home::run;
use crate::port;

/// Three primaries that share the slots, and maybe a replica of each.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts a cluster whose primaries have so many replicas each. Every node is as the builder says, with TLS also among themselves. One that is silent
    /// for longer than `silence` is called lost.
    pub async fn start(node: RedisBuilder, replicas: usize, silence: Duration) -> Result<Self> {
        let mut nodes: Vec<RedisServer> = Vec::new();
        for _ in 0..3 * (replicas + 1) {
            let bus = port::free()?.to_string();
            let builder = match nodes.first() {
                None => node.clone(),
                Some(first) => node.clone().tls_as(first)?,
            };
            let builder = builder
                .setting("cluster-enabled", "yes")
                .setting("cluster-port", &bus)
                .setting("cluster-node-timeout", &silence.as_millis().to_string())
                .setting("cluster-replica-validity-factor", "0")
                .setting("repl-diskless-sync-delay", "0");
            nodes.push(builder.start().await?);
        }
        let cluster = Self { nodes };
        let mut args = vec!["--cluster".to_owned(), "create".to_owned()];
        args.extend(cluster.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())));
        args.extend(["--cluster-replicas".to_owned(), replicas.to_string()]);
        cluster.cli(args).await?;
        for node in &cluster.nodes {
            node.until_cluster_is_ok().await?;
        }
        Ok(cluster)
    }

    /// Its nodes, the primaries first.
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// The URL of a namespace, which names the first two nodes. Holds the password.
    pub fn url(&self, namespace: &str) -> String {
        let seeds: Vec<_> =
            self.nodes[..2].iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        let s = if self.ca_certificate().is_some() { "s" } else { "" };
        format!("redis{s}+cluster://:{PASSWORD}@{}?namespace={namespace}", seeds.join(","))
    }

    /// The certificate of the CA that signed those of the nodes, in PEM, when started with TLS.
    pub fn ca_certificate(&self) -> Option<&Path> {
        self.nodes[0].ca_certificate()
    }

    /// The slot of a namespace.
    pub async fn slot(&self, namespace: &str) -> Result<u16> {
        let told = self.any(&["CLUSTER", "KEYSLOT", &format!("{{{namespace}}}")]).await?;
        told.parse().map_err(|_| Error::new(format!("no slot: {told}")))
    }

    /// Which node owns the slot of a namespace, as the first node that answers sees it.
    pub async fn owner(&self, namespace: &str) -> Result<&RedisServer> {
        let slot = self.slot(namespace).await?;
        let told = self.any(&["CLUSTER", "NODES"]).await?;
        let owns = |range: &str| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let bounds = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
            bounds.is_some_and(|(first, last)| (first..=last).contains(&slot))
        };
        let line = told.lines().find(|line| line.split(' ').skip(8).any(owns));
        let address = line.and_then(|line| line.split(' ').nth(1)?.split('@').next());
        let port = address.and_then(|address| address.rsplit(':').next()?.parse().ok());
        let found = self.nodes.iter().find(|node| Some(node.port()) == port);
        found.ok_or_else(|| Error::new(format!("nobody owns slot {slot}: {told}")))
    }

    /// A node's name among the nodes.
    pub async fn id(&self, node: &RedisServer) -> Result<String> {
        node.command(&["CLUSTER", "MYID"]).await
    }

    async fn any(&self, args: &[&str]) -> Result<String> {
        let mut last = Err(Error::new("a cluster without nodes"));
        for node in &self.nodes {
            last = node.command(args).await;
            if last.is_ok() {
                break;
            }
        }
        last
    }

    /// Runs `redis-cli` on the cluster as a whole.
    async fn cli(&self, args: Vec<String>) -> Result<()> {
        let ca = self.ca_certificate().map(Path::to_owned);
        blocking(move || {
            let mut cli = Command::new(binaries::program("redis-cli", "redis-tools")?);
            cli.env("REDISCLI_AUTH", PASSWORD).args(args).arg("--cluster-yes");
            if let Some(ca) = ca {
                cli.args(["--tls", "--cacert"]).arg(ca);
            }
            run(cli.stdin(Stdio::null()))
        })
        .await
    }
}

impl RedisServer {
    async fn until_cluster_is_ok(&self) -> Result<()> {
        let mut told = String::new();
        for _ in 0..1_000 {
            told = self.command(&["CLUSTER", "INFO"]).await?;
            if told.contains("cluster_state:ok") {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(Error::new(format!("the cluster did not come up: {told}")))
    }
}
