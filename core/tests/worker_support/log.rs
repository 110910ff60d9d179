//! What is logged, for tests that look at it.

use std::fmt::Debug;
use std::sync::{Arc, LazyLock, Mutex};

use tracing::field::{Field, Visit};
use tracing::{Dispatch, Event, Metadata, Subscriber, span, subscriber};

/// With a single subscriber alive, the first thread to reach a message decides for all threads
/// whether anybody listens, and a thread of another test says no. With two, all are asked.
static SECOND: LazyLock<Dispatch> =
    LazyLock::new(|| Dispatch::new(subscriber::NoSubscriber::default()));

/// Gathers the messages of this thread down to the level of information.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Gathers until the guard is dropped.
    pub fn capture() -> (Self, subscriber::DefaultGuard) {
        LazyLock::force(&SECOND);
        let log = Self::default();
        let guard = subscriber::set_default(log.clone());
        (log, guard)
    }

    /// How many messages have this in them.
    pub fn count(&self, part: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|message| message.contains(part)).count()
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::INFO
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        struct Message<'a>(&'a mut Vec<String>);
        impl Visit for Message<'_> {
            fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                if field.name() == "message" {
                    self.0.push(format!("{value:?}"));
                }
            }
        }
        event.record(&mut Message(&mut self.0.lock().unwrap()));
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}
