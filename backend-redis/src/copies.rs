//! Waits until replicas have what was written.
//!
//! The server holds back everything else on a connection that waits, so inserts that wait have a connection of their own. One wait speaks for all that was
//! written on it before: those that come meanwhile share the next.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::join;
use redis::{ErrorKind, RedisError, ServerErrorKind, Value};

use crate::link::{Line, Link, Reply};
use crate::options::Copies;
use crate::script::{Args, Script};
use crate::wire::{int, items};

/// The field of the namespace's counters that is written before a wait.
const MARK: &str = "waited";

/// The connection, and who waits on it.
pub(crate) struct Copied {
    link: Arc<Link>,
    copies: Copies,
    waiting: tokio::sync::Mutex<()>,
    waits: Mutex<Waits>,
}

/// Waits are numbered as they are sent.
#[derive(Default)]
struct Waits {
    sent: u64,
    /// The last that ended, on which connection, and what it found.
    ended: Option<(u64, u64, Reply<Found>)>,
}

/// Whose disks or memories hold what was written.
#[derive(Debug, Clone, Copy)]
struct Found {
    primary: bool,
    replicas: u32,
}

/// Why a call with a wait failed.
#[derive(Debug)]
pub(crate) enum Failed {
    /// Nothing, or all, may have been written.
    Call(RedisError),
    /// All was written; this is how many replicas have it.
    Short(u32),
    /// All was written; the wait failed.
    Wait(RedisError),
}

impl Copied {
    pub(crate) fn new(link: Arc<Link>, copies: Copies) -> Self {
        Self { link, copies, waiting: tokio::sync::Mutex::new(()), waits: Mutex::default() }
    }

    pub(crate) fn close(&self) {
        self.link.close();
    }

    /// Runs a script, and waits for the copies of what it wrote. One that found its work done before waits for the copies of that; one whose answer is a
    /// refusal has written nothing, and waits for nothing.
    pub(crate) async fn run(
        &self,
        script: &Script,
        namespace: &str,
        args: &Args,
        is_refusal: fn(&Value) -> bool,
    ) -> Result<Value, Failed> {
        // The wait must be on the connection of the write: another may lead to another server, and speaks of its own writes.
        let pinned = self.link.pin().await.map_err(Failed::Call)?;
        let answer = script.run(&pinned, namespace, args).await.map_err(Failed::Call)?;
        if is_refusal(&answer) {
            return Ok(answer);
        }
        let after = self.lock().sent;
        let _one = self.waiting.lock().await;
        let ended = self.lock().ended.clone();
        let found = match ended {
            Some((number, on, found)) if number > after && on == pinned.number() => found,
            _ => {
                let number = {
                    let mut waits = self.lock();
                    waits.sent += 1;
                    waits.sent
                };
                let found = self.wait(&pinned, namespace).await;
                self.lock().ended = Some((number, pinned.number(), found.clone()));
                found
            }
        };
        let found = found.map_err(Failed::Wait)?;
        if found.replicas < self.copies.replicas || (self.copies.on_disk && !found.primary) {
            return Err(Failed::Short(found.replicas));
        }
        Ok(answer)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A wait is for the last write of its connection, and so for all that anybody wrote before it. A script that found its work done wrote nothing: hence
    /// a write, sent together with the wait.
    async fn wait(&self, line: &impl Line, namespace: &str) -> Reply<Found> {
        let Copies { replicas, timeout, on_disk } = self.copies;
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let mut mark = redis::cmd("HSET");
        mark.arg(namespace).arg(MARK).arg(1);
        let mut wait = redis::cmd(if on_disk { "WAITAOF" } else { "WAIT" });
        if on_disk {
            wait.arg(1);
        }
        wait.arg(replicas).arg(millis);
        let (marked, answer) = join(line.send(&mark), line.send(&wait)).await;
        marked?;
        let odd =
            |_| RedisError::from((ErrorKind::Parse, "the answer to a wait has another shape"));
        let count = |value: &Value| int(value).map(|n| u32::try_from(n).unwrap_or(0)).map_err(odd);
        if on_disk {
            let [primary, replicas] = items(answer?).map_err(odd)?;
            return Ok(Found { primary: count(&primary)? > 0, replicas: count(&replicas)? });
        }
        Ok(Found { primary: true, replicas: count(&answer?)? })
    }
}

impl Copied {
    /// What the caller is told.
    pub(crate) fn explain(&self, failed: &Failed) -> String {
        let why = match failed {
            Failed::Call(error) | Failed::Wait(error) => error.to_string(),
            Failed::Short(found) => format!(
                "{found} of {} replicas had them within {:?}",
                self.copies.replicas, self.copies.timeout
            ),
        };
        format!(
            "the jobs are stored and will run, but a failover may lose them: {why}; repeating the insert of the same job ids adds nothing and waits again"
        )
    }
}

impl std::fmt::Debug for Copied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Copied").field(&self.copies).finish()
    }
}

/// Whether a server doesn't know a command.
pub(crate) fn is_unknown_command(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::ResponseError)
        && error.detail().is_some_and(|told| told.starts_with("unknown command"))
}
