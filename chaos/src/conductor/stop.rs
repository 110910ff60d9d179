//! A run that is asked to end: it heals what it broke, checks what was recorded so far, and reports.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::Result;

/// Whether SIGINT or SIGTERM came. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    asked: AtomicBool,
    news: Notify,
}

impl Stop {
    /// Listens from now on. A second signal ends this program at once, and with it all that it started.
    pub fn on_signals() -> Result<Self> {
        let stop = Self::default();
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let told = stop.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if told.asked() {
                    std::process::exit(130);
                }
                eprintln!("ending: what was recorded so far is checked");
                told.ask();
            }
        });
        Ok(stop)
    }

    /// Asks for the end.
    pub fn ask(&self) {
        self.0.asked.store(true, Ordering::SeqCst);
        self.0.news.notify_waiters();
    }

    /// Whether somebody did.
    pub fn asked(&self) -> bool {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// Ends when somebody does. One who comes too late for that sees it at his next look.
    pub async fn news(&self) {
        self.0.news.notified().await;
    }
}
