//! The backend: connections, scripts, and the hub that wakes who waits.

mod open;
pub(crate) mod preflight;

use std::sync::Arc;

use async_trait::async_trait;
use redis::Value;
use windlass_core::{Backend, Capabilities, Error, Limits, Result, Storage};

use crate::aside::Aside;
use crate::copies::{Copied, Failed};
use crate::error::{NAME, translate};
use crate::link::{Line, Link};
use crate::ops::plain::Singles;
use crate::options::RedisOptions;
use crate::script::{Args, Script, Scripts};
use crate::storage::RedisStorage;
use crate::wake::Hub;

/// Jobs in a Redis server. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct RedisBackend {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) options: RedisOptions,
    pub(crate) scripts: Scripts,
    /// The namespace in braces: the first key of every script, and the beginning of all others.
    pub(crate) namespace: String,
    /// For what must be quick.
    pub(crate) main: Arc<Link>,
    /// For what may be long: listings, histories, blobs.
    pub(crate) reads: Arc<Link>,
    /// For inserts that wait for replicas.
    pub(crate) copied: Option<Copied>,
    /// Connections for heartbeats.
    pub(crate) aside: Aside,
    pub(crate) hub: Hub,
    /// Single inserts that come while others are under way.
    pub(crate) singles: Singles,
    /// The limits as scripts take them.
    pub(crate) limits: Vec<u8>,
    /// Pauses before the next attempt of jobs that passed their deadline, as scripts take them.
    pub(crate) pauses: Vec<u8>,
}

impl Inner {
    /// Runs a script.
    pub(crate) async fn call(
        &self,
        during: &'static str,
        script: &Script,
        args: Args,
    ) -> Result<Value> {
        self.call_on(&self.main, during, script, args).await
    }

    /// Runs a script whose writes replicas must have, if the options want that. With some answers it tells that it wrote nothing.
    pub(crate) async fn call_copied(
        &self,
        during: &'static str,
        script: &Script,
        args: Args,
        is_refusal: fn(&Value) -> bool,
    ) -> Result<Value> {
        let Some(copied) = &self.copied else { return self.call(during, script, args).await };
        self.hub.check_open()?;
        match copied.run(script, &self.namespace, &args, is_refusal).await {
            Ok(answer) => Ok(answer),
            Err(Failed::Call(error)) => Err(self.explain(during, error)),
            Err(failed) => {
                self.hub.check_open()?;
                let source = copied.explain(&failed).into();
                Err(Error::Unavailable { backend: NAME, during, source })
            }
        }
    }

    /// Runs a script that only reads, and may have much to tell.
    pub(crate) async fn read(
        &self,
        during: &'static str,
        script: &Script,
        args: Args,
    ) -> Result<Value> {
        self.call_on(&self.reads, during, script, args).await
    }

    async fn call_on(
        &self,
        link: &Link,
        during: &'static str,
        script: &Script,
        args: Args,
    ) -> Result<Value> {
        self.hub.check_open()?;
        let done = script.run(link, &self.namespace, &args).await;
        done.map_err(|error| self.explain(during, error))
    }

    /// Sends a command that reads.
    pub(crate) async fn command(&self, during: &'static str, command: redis::Cmd) -> Result<Value> {
        self.hub.check_open()?;
        self.reads.send(&command).await.map_err(|error| self.explain(during, error))
    }

    fn explain(&self, during: &'static str, error: redis::RedisError) -> Error {
        // A call that was under way when the backend was closed.
        if self.hub.check_open().is_err() { Error::Closed(NAME) } else { translate(during, error) }
    }

    /// A key of the namespace.
    pub(crate) fn key(&self, role: &str, name: &[u8]) -> Vec<u8> {
        [self.namespace.as_bytes(), role.as_bytes(), name].concat()
    }
}

#[async_trait]
impl Backend for RedisBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new(true, true, false)
    }

    fn limits(&self) -> &Limits {
        &self.inner.options.limits
    }

    fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(RedisStorage::new(self))
    }

    async fn ping(&self) -> Result<()> {
        let inner = &self.inner;
        inner.hub.check_open()?;
        let mut role = redis::cmd("INFO");
        role.arg("replication");
        let told = inner.main.send(&role).await.map_err(|error| inner.explain("ping", error))?;
        let told = crate::wire::text(told)?;
        if told.lines().any(|line| line.trim() == "role:slave") {
            let source = "the server takes no writes: it is a replica".into();
            return Err(Error::Unavailable { backend: NAME, during: "ping", source });
        }
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        self.inner.hub.close();
        self.inner.aside.close();
        self.inner.main.close();
        self.inner.reads.close();
        self.inner.copied.iter().for_each(Copied::close);
        Ok(())
    }
}
