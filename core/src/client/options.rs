//! The option methods that [`Draft`](crate::Draft) and [`Enqueue`](crate::Enqueue) share.

/// Writes the methods into an `impl` whose type has `fn options_mut(&mut self) -> &mut Options`.
macro_rules! option_methods {
    () => {
        /// Uses this id instead of a fresh one: enqueuing the same id again changes nothing, so the
        /// caller can repeat an enqueue across its own restarts.
        pub fn id(mut self, id: $crate::JobId) -> Self {
            self.options_mut().id = Some(id);
            self
        }

        /// Puts it into this queue.
        pub fn queue(mut self, name: impl AsRef<str>) -> Self {
            self.options_mut()
                .accept($crate::QueueName::new(name), |options, name| options.queue = Some(name));
            self
        }

        /// Its order within the queue; lower first.
        pub fn priority(mut self, priority: impl Into<$crate::Priority>) -> Self {
            self.options_mut().priority = Some(priority.into());
            self
        }

        /// How many attempts it has before it is discarded.
        pub fn max_attempts(mut self, attempts: u32) -> Self {
            self.options_mut().max_attempts = Some(attempts);
            self
        }

        /// How long one attempt may take.
        pub fn timeout<D: TryInto<::std::time::Duration>>(mut self, timeout: D) -> Self {
            let timeout =
                $crate::client::Options::length("timeout", timeout, "`no_timeout` sets none");
            self.options_mut()
                .accept(timeout, |options, value| options.timeout = Some(Some(value)));
            self
        }

        /// Sets no deadline for its attempts.
        pub fn no_timeout(mut self) -> Self {
            self.options_mut().timeout = Some(None);
            self
        }

        /// Runs it this long after the insert, by the database's clock. Takes a `std` duration or a
        /// `jiff::SignedDuration`; a negative one is an error.
        pub fn delay<D: TryInto<::std::time::Duration>>(mut self, delay: D) -> Self {
            let delay = $crate::client::Options::length("delay", delay, "0 means at once");
            self.options_mut()
                .accept(delay, |options, delay| options.start = $crate::Start::In(delay));
            self
        }

        /// Runs it at this time, by the database's clock; at once when the time has passed.
        pub fn at(mut self, time: $crate::Timestamp) -> Self {
            self.options_mut().at(time);
            self
        }

        /// Makes it unique among the jobs of its kind under this key. Keys of different kinds never meet.
        pub fn unique_key(mut self, key: impl Into<String>) -> Self {
            self.options_mut().unique.key = Some(key.into());
            self
        }

        /// Holds the unique key until the first claim. Without a key, the whole args are the key.
        pub fn unique_until_started(mut self) -> Self {
            self.options_mut().unique.until = Some($crate::UniqueUntil::Started);
            self
        }

        /// Holds the unique key until a final state (what a key alone does). Without a key, the whole args are the key.
        pub fn unique_until_finished(mut self) -> Self {
            self.options_mut().unique.until = Some($crate::UniqueUntil::Finished);
            self
        }

        /// Holds the unique key for this long, more than 0, from the insert. Without a key, the whole args are the key.
        pub fn unique_for<D: TryInto<::std::time::Duration>>(mut self, window: D) -> Self {
            let window = $crate::client::Options::length(
                "unique window",
                window,
                "`unique_until_finished` needs none",
            );
            self.options_mut().accept(window, |options, window| {
                options.unique.until = Some($crate::UniqueUntil::For(window));
            });
            self
        }

        /// What to do when the unique key is held.
        pub fn on_conflict(mut self, on_conflict: $crate::OnConflict) -> Self {
            self.options_mut().unique.on_conflict = Some(on_conflict);
            self
        }

        /// Drops the unique rule of its kind.
        pub fn not_unique(mut self) -> Self {
            self.options_mut().unique.off = true;
            self
        }

        /// Adds a small fact that travels with the job (a trace context, a request id).
        pub fn meta(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
            self.options_mut().meta.insert(key.into(), value.into());
            self
        }

        /// Adds a label to list and change jobs by.
        pub fn tag(mut self, tag: impl AsRef<str>) -> Self {
            self.options_mut().accept($crate::Tag::new(tag), |options, tag| {
                if !options.tags.contains(&tag) {
                    options.tags.push(tag);
                }
            });
            self
        }
    };
}

pub(super) use option_methods;
