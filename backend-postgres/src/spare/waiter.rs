//! A call that waits for a connection of another one.

use std::sync::Arc;

use sqlx::{Error, Result};
use tokio::sync::oneshot;

use super::{Spare, Spares};

/// Its place in the line, which it leaves when it is dropped.
pub(super) struct Waiter {
    spares: Arc<Spares>,
    receiver: oneshot::Receiver<Spare>,
}

impl Waiter {
    pub(super) fn new(spares: Arc<Spares>, receiver: oneshot::Receiver<Spare>) -> Self {
        Self { spares, receiver }
    }

    /// The connection that it is given.
    pub(super) async fn spare(&mut self) -> Result<Spare> {
        (&mut self.receiver).await.map_err(|_| Error::PoolClosed)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.receiver.close();
        // It was given one and has not seen it: the next one gets it.
        if let Ok(spare) = self.receiver.try_recv() {
            self.spares.keep(spare);
        }
    }
}
