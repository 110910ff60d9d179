//! Handlers: what a user registers, and the erased form that the worker calls.

use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::attempt::Attempt;
use super::context::Context;
use super::pool::BlockingPool;
use crate::{Backoff, Error, Job, Outcome, Payload};

/// An async function of args and context: `async fn(J, Context<S>) -> Outcome<J::Output>`. Implemented for every
/// function and closure of that shape, and only for these.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no handler of `{J}` jobs with state `{S}`",
    label = "not a handler",
    note = "a handler is `async fn(job: {J}, cx: Context<{S}>) -> Outcome<<{J} as Job>::Output>`, and its future is `Send`",
    note = "register after `Worker::state`, so that the handler's `Context` has the worker's state"
)]
pub trait Handler<J: Job, S>:
    Fn(J, Context<S>) -> <Self as Handler<J, S>>::Future + Send + Sync + 'static
{
    /// What the function returns.
    type Future: Future<Output = Outcome<J::Output>> + Send + 'static;
}

impl<J, S, F, Fut> Handler<J, S> for F
where
    J: Job,
    F: Fn(J, Context<S>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Outcome<J::Output>> + Send + 'static,
{
    type Future = Fut;
}

/// How a call of a handler ended, panics aside.
pub(crate) enum Ended {
    Returned(Outcome<Payload>),
    /// The args are not a `J`; the handler was not called.
    BadArgs(Error),
    /// The result can't be written.
    BadResult(Error),
    /// A blocking handler panicked on its thread.
    Panicked(Box<dyn std::any::Any + Send>),
    /// The pool is closed: the worker ends.
    NotRun,
}

/// A handler with what is asked of its job type once.
pub(crate) struct Registered {
    pub(crate) handler: Arc<dyn Erased>,
    pub(crate) backoff: Backoff,
}

/// A handler without its types.
pub(crate) trait Erased: Send + Sync {
    fn blocking(&self) -> bool;
    fn call(&self, args: Payload, attempt: Arc<Attempt>) -> BoxFuture<'static, Ended>;
}

/// Names the kind of args that can't be read, and the ways out.
fn bad_args<J: Job>(error: Error) -> Error {
    let ways = "give new fields a default (`#[serde(default)]`) or let the handler of this kind accept the old shape as well, then \
                retry the job";
    match error.decoding(format!("args of kind `{}`", J::KIND)) {
        Error::Decode { what, source } => {
            Error::Decode { what, source: format!("{source}: {ways}").into() }
        }
        error => error,
    }
}

fn ended<T: serde::Serialize>(outcome: Outcome<T>) -> Ended {
    match outcome.map(|output| Payload::json(&output)) {
        Ok(Ok(payload)) => Ended::Returned(Ok(payload)),
        Ok(Err(error)) => Ended::BadResult(error),
        Err(stop) => Ended::Returned(Err(stop)),
    }
}

/// An async handler with its state.
pub(crate) struct Async<J, S, H> {
    handler: Arc<H>,
    state: Arc<S>,
    job: PhantomData<fn(J)>,
}

impl<J, S, H> Async<J, S, H> {
    pub(crate) fn new(handler: H, state: Arc<S>) -> Self {
        Self { handler: Arc::new(handler), state, job: PhantomData }
    }
}

impl<J, S, H> Erased for Async<J, S, H>
where
    J: Job,
    S: Send + Sync + 'static,
    H: Handler<J, S>,
{
    fn blocking(&self) -> bool {
        false
    }

    fn call(&self, args: Payload, attempt: Arc<Attempt>) -> BoxFuture<'static, Ended> {
        let (handler, state) = (self.handler.clone(), self.state.clone());
        // All of it inside the future, which runs where a panic is caught.
        async move {
            match args.parse::<J>() {
                Ok(job) => ended(handler(job, Context::new(attempt, state)).await),
                Err(error) => Ended::BadArgs(bad_args::<J>(error)),
            }
        }
        .boxed()
    }
}

/// A blocking handler with its state and the pool it runs on.
pub(crate) struct Blocking<J, S, F> {
    handler: Arc<F>,
    state: Arc<S>,
    pool: Arc<std::sync::OnceLock<BlockingPool>>,
    job: PhantomData<fn(J)>,
}

impl<J, S, F> Blocking<J, S, F> {
    pub(crate) fn new(
        handler: F,
        state: Arc<S>,
        pool: Arc<std::sync::OnceLock<BlockingPool>>,
    ) -> Self {
        Self { handler: Arc::new(handler), state, pool, job: PhantomData }
    }
}

impl<J, S, F> Erased for Blocking<J, S, F>
where
    J: Job,
    S: Send + Sync + 'static,
    F: Fn(J, Context<S>) -> Outcome<J::Output> + Send + Sync + 'static,
{
    fn blocking(&self) -> bool {
        true
    }

    fn call(&self, args: Payload, attempt: Arc<Attempt>) -> BoxFuture<'static, Ended> {
        let (handler, state) = (self.handler.clone(), self.state.clone());
        let token = attempt.token.clone();
        let (runtime, thread) = (attempt.runtime.clone(), attempt.thread());
        let work = move || {
            // The pool's own runtime drives nothing: what the handler awaits or spawns belongs to the worker's.
            let _entered = runtime.enter();
            match args.parse::<J>() {
                // It waited for a thread until nobody wanted it any more.
                _ if token.is_cancelled() => Ended::NotRun,
                Ok(job) => ended(handler(job, Context::new(attempt, state))),
                Err(error) => Ended::BadArgs(bad_args::<J>(error)),
            }
        };
        let run = self.pool.get().and_then(|pool| pool.run(thread, work));
        async move {
            let Some(run) = run else { return Ended::NotRun };
            match run.await {
                Ok(ended) => ended,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => Ended::Panicked(panic),
                    Err(_) => Ended::NotRun,
                },
            }
        }
        .boxed()
    }
}
