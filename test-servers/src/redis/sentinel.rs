//! Servers under Sentinels.

use std::path::Path;
use std::time::Duration;

use super::builder::RedisBuilder;
use super::server::{PASSWORD, RedisServer};
use crate::error::Result;

/// The service's name.
const SERVICE: &str = "jobs";

/// A primary with its replicas, and three Sentinels that watch over them.
#[derive(Debug)]
pub struct RedisSentinels {
    servers: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
}

impl RedisSentinels {
    /// Starts a primary with so many replicas, and waits until they follow it and every Sentinel knows everybody. Every server is as the builder says,
    /// with TLS also among themselves and the Sentinels. One that is silent for longer than `silence` is called down.
    pub async fn start(server: RedisBuilder, replicas: usize, silence: Duration) -> Result<Self> {
        let mut servers = vec![server.clone().start().await?];
        for _ in 0..replicas {
            let builder = server.clone().tls_as(&servers[0])?;
            servers.push(builder.replica_of(&servers[0]).start().await?);
        }
        for replica in &servers[1..] {
            replica.until_info("master_link_status", "up").await?;
        }
        let monitor = format!("monitor {SERVICE} 127.0.0.1 {} 2", servers[0].port());
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            let builder = RedisServer::builder().tls_as(&servers[0])?.sentinel();
            let lines = [
                monitor.clone(),
                format!("sentinel-pass {PASSWORD}"),
                format!("auth-pass {SERVICE} {PASSWORD}"),
                format!("down-after-milliseconds {SERVICE} {}", silence.as_millis()),
                format!("failover-timeout {SERVICE} 10000"),
            ];
            let builder = lines.iter().fold(builder, |b, line| b.setting("sentinel", line));
            sentinels.push(builder.start().await?);
        }
        let all = Self { servers, sentinels };
        for sentinel in &all.sentinels {
            all.until(sentinel, "num-slaves", &replicas.to_string()).await?;
            all.until(sentinel, "num-other-sentinels", "2").await?;
        }
        Ok(all)
    }

    /// The URL of a namespace. Holds the passwords.
    pub fn url(&self, namespace: &str) -> String {
        let hosts: Vec<_> =
            self.sentinels.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        let s = if self.ca_certificate().is_some() { "s" } else { "" };
        format!(
            "redis{s}+sentinel://:{PASSWORD}@{}/{SERVICE}?namespace={namespace}&sentinel_password={PASSWORD}",
            hosts.join(",")
        )
    }

    /// The certificate of the CA that signed those of the servers and the Sentinels, in PEM, when started with TLS.
    pub fn ca_certificate(&self) -> Option<&Path> {
        self.servers[0].ca_certificate()
    }

    /// The servers, the first primary first.
    pub fn servers(&self) -> &[RedisServer] {
        &self.servers
    }

    /// The Sentinels.
    pub fn sentinels(&self) -> &[RedisServer] {
        &self.sentinels
    }

    /// The port of the primary, as a Sentinel sees it.
    pub async fn primary(&self) -> Result<u16> {
        let told = self.sentinels[0].sentinel_field("port").await?;
        told.parse().map_err(|_| crate::error::Error::new(format!("no port: {told}")))
    }

    async fn until(&self, sentinel: &RedisServer, field: &str, value: &str) -> Result<()> {
        let mut found = String::new();
        for _ in 0..2_000 {
            found = sentinel.sentinel_field(field).await?;
            if found == value {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        Err(crate::error::Error::new(format!("`{field}` did not become `{value}`: {found}")))
    }
}

impl RedisServer {
    /// What a Sentinel says of the service.
    async fn sentinel_field(&self, name: &str) -> Result<String> {
        let told = self.command(&["SENTINEL", "MASTER", SERVICE]).await?;
        let mut lines = told.lines();
        lines.find(|line| *line == name);
        Ok(lines.next().unwrap_or_default().to_owned())
    }
}
