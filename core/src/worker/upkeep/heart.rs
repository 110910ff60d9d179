//! The thread on which the leases of a client's workers are kept: neither handlers nor a full buffer can starve it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use crate::{Error, Result};

/// Held by the tasks on the thread: with the last of them it ends.
#[derive(Debug)]
pub(crate) struct Heart {
    tasks: mpsc::UnboundedSender<BoxFuture<'static, ()>>,
}

impl Heart {
    /// Starts the thread, with a runtime of its own.
    pub(super) fn start() -> Result<Arc<Self>> {
        let failed = |e| Error::Config(format!("can't start the heartbeat thread: {e}").into());
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (tasks, mut given) = mpsc::unbounded_channel();
        let run = async move {
            while let Some(task) = given.recv().await {
                tokio::spawn(task);
            }
        };
        std::thread::Builder::new()
            .name("windlass-heartbeat".to_owned())
            .spawn(move || runtime.block_on(run))
            .map_err(failed)?;
        Ok(Arc::new(Self { tasks }))
    }

    /// Runs a task on the thread.
    pub(crate) fn spawn(self: Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        let heart = self.clone();
        let task = async move {
            task.await;
            drop(heart);
        };
        // The thread ends only when nobody has a task there.
        let _ = self.tasks.send(Box::pin(task));
    }
}
