//! Calls that come while others are under way go together, as one call of the server: nobody waits for company, and who is busy pays for a share of a
//! round trip and of a commit.
//!
//! A lone call is sent by its caller. Those that come meanwhile are sent by tasks of their own: none of them waits for another's caller, who may have
//! stopped polling.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use crate::Error;
use crate::sync::{self, Mutex, MutexGuard, PoisonError, oneshot};

/// Those who wait to be sent, and how many tasks send.
pub struct Gather<T, A> {
    at_once: u32,
    most: usize,
    state: Arc<Mutex<State<T, A>>>,
}

struct State<T, A> {
    waiting: VecDeque<Waiting<T, A>>,
    /// Tasks that send.
    senders: u32,
    /// Callers who send for themselves alone.
    alone: u32,
}

struct Waiting<T, A> {
    item: T,
    done: oneshot::Sender<A>,
}

fn lock<T, A>(state: &Mutex<State<T, A>>) -> MutexGuard<'_, State<T, A>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Send + 'static, A: Send + 'static> Gather<T, A> {
    /// Up to `at_once` tasks send, and each takes up to `most` items at a time.
    #[must_use]
    pub fn new(at_once: u32, most: usize) -> Self {
        let state = State { waiting: VecDeque::new(), senders: 0, alone: 0 };
        Self { at_once, most, state: Arc::new(Mutex::new(state)) }
    }

    /// Sends an item, with others if there are any under way. `send` answers each of its items, in their order. `None` when the runtime that sent it has
    /// ended: it may have arrived or not.
    ///
    /// A caller who goes away meanwhile leaves the others unharmed; its item may be sent then. The runtime of a caller must be driven or dropped: others may
    /// wait for a task on it, and one that is kept without being driven keeps them waiting.
    pub async fn call<F, S>(&self, item: T, send: F) -> Option<A>
    where
        F: Fn(Vec<T>) -> S + Send + Sync + 'static,
        S: Future<Output = Vec<A>> + Send + 'static,
    {
        let (sender, answer) = match self.join(item) {
            Err(item) => {
                let _alone = Alone(&self.state);
                return send(vec![item]).await.pop();
            }
            Ok(joined) => joined,
        };
        if let Some(sender) = sender {
            sync::spawn(sender.run(send));
        }
        answer.await.ok()
    }

    /// Joins those who wait, and begins to send when too few do; or gives the item back to a caller who is alone.
    fn join(&self, item: T) -> Result<Joined<T, A>, T> {
        let mut state = lock(&self.state);
        if state.senders == 0 && state.alone == 0 {
            state.alone += 1;
            return Err(item);
        }
        let (done, answer) = oneshot::channel();
        state.waiting.push_back(Waiting { item, done });
        let begins = state.senders < self.at_once;
        state.senders += u32::from(begins);
        let sender = || Sender { state: self.state.clone(), most: self.most, counted: true };
        Ok((begins.then(sender), answer))
    }
}

/// The task to begin, if any, and the answer to wait for.
type Joined<T, A> = (Option<Sender<T, A>>, oneshot::Receiver<A>);

/// A caller who sends for itself, counted for as long as it does.
struct Alone<'s, T, A>(&'s Mutex<State<T, A>>);

impl<T, A> Drop for Alone<'_, T, A> {
    fn drop(&mut self) {
        lock(self.0).alone -= 1;
    }
}

/// A task that sends, counted for as long as it lives.
struct Sender<T, A> {
    state: Arc<Mutex<State<T, A>>>,
    most: usize,
    counted: bool,
}

impl<T, A> Sender<T, A> {
    /// The next ones to be sent. With none left the task is counted no more, in the same moment: who comes then begins another.
    fn next(&mut self) -> Option<Vec<Waiting<T, A>>> {
        let mut state = lock(&self.state);
        if state.waiting.is_empty() {
            state.senders -= 1;
            self.counted = false;
            return None;
        }
        let most = state.waiting.len().min(self.most);
        Some(state.waiting.drain(..most).collect())
    }

    /// Sends until nobody waits any more.
    async fn run<S: Future<Output = Vec<A>>>(mut self, send: impl Fn(Vec<T>) -> S) {
        while let Some(batch) = self.next() {
            let (mut items, mut waiting) = (Vec::with_capacity(batch.len()), Vec::new());
            for Waiting { item, done } in batch {
                items.push(item);
                waiting.push(done);
            }
            for (done, answer) in waiting.into_iter().zip(send(items).await) {
                // Nobody waits any more: it was sent all the same.
                let _ = done.send(answer);
            }
            // Those who were answered may come again at once.
            tokio::task::yield_now().await;
        }
    }
}

impl<T, A> Drop for Sender<T, A> {
    fn drop(&mut self) {
        if !self.counted {
            return;
        }
        // Dropped in the middle, with its runtime. Those who wait and have nobody left to send them are told.
        let mut state = lock(&self.state);
        state.senders -= 1;
        if state.senders == 0 {
            state.waiting.clear();
        }
    }
}

impl<T, A> fmt::Debug for Gather<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("Gather")
            .field("waiting", &state.waiting.len())
            .field("senders", &state.senders)
            .finish_non_exhaustive()
    }
}

/// What each item of a call is told that failed.
#[must_use]
pub fn same(backend: &'static str, during: &'static str, error: &Error) -> Error {
    let text = |source: &dyn fmt::Display| source.to_string().into();
    match error {
        Error::Closed(name) => Error::Closed(name),
        Error::Unavailable { source, .. } => {
            Error::Unavailable { backend, during, source: text(source) }
        }
        Error::Backend { source, .. } => Error::Backend { backend, during, source: text(source) },
        error => Error::Backend { backend, during, source: text(error) },
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{Notify, Semaphore};

    use super::*;

    /// A server that answers when it is let, and tells of what it was sent.
    #[derive(Default)]
    struct Server {
        sent: Mutex<Vec<Vec<u32>>>,
        came: Notify,
        answers: Option<Semaphore>,
    }

    impl Server {
        fn slow() -> Arc<Self> {
            Arc::new(Self { answers: Some(Semaphore::new(0)), ..Self::default() })
        }

        async fn take(self: Arc<Self>, items: Vec<u32>) -> Vec<u32> {
            self.sent.lock().unwrap().push(items.clone());
            self.came.notify_one();
            if let Some(answers) = &self.answers {
                answers.acquire().await.unwrap().forget();
            }
            items.into_iter().map(|item| item * 10).collect()
        }

        fn answer(&self, calls: usize) {
            self.answers.as_ref().unwrap().add_permits(calls);
        }

        fn sent(&self) -> Vec<Vec<u32>> {
            self.sent.lock().unwrap().clone()
        }
    }

    fn begin(
        gather: &Arc<Gather<u32, u32>>,
        server: &Arc<Server>,
        item: u32,
    ) -> tokio::task::JoinHandle<Option<u32>> {
        let (gather, server) = (gather.clone(), server.clone());
        tokio::spawn(async move { gather.call(item, move |all| server.clone().take(all)).await })
    }

    /// Lets all tasks go as far as they can: the runtime of these tests has one thread.
    async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn those_that_come_meanwhile_go_together() {
        let (gather, server) = (Arc::new(Gather::new(1, 3)), Server::slow());
        let calls: Vec<_> = (1..=7).map(|item| begin(&gather, &server, item)).collect();
        settle().await;
        assert_eq!(server.sent(), [vec![1], vec![2, 3, 4]], "a lone one goes at once");
        server.answer(10);
        for (call, item) in calls.into_iter().zip(1..) {
            assert_eq!(call.await.unwrap(), Some(item * 10));
        }
        assert_eq!(server.sent(), [vec![1], vec![2, 3, 4], vec![5, 6, 7]]);
        settle().await;
        assert_eq!(begin(&gather, &server, 8).await.unwrap(), Some(80));
        let state = lock(&gather.state);
        assert_eq!((state.senders, state.alone), (0, 0));
    }

    #[tokio::test]
    async fn several_are_under_way_at_once() {
        let (gather, server) = (Arc::new(Gather::new(2, 10)), Server::slow());
        let calls: Vec<_> = (1..=5).map(|item| begin(&gather, &server, item)).collect();
        settle().await;
        assert_eq!(server.sent(), [vec![1], vec![2, 3, 4, 5]]);
        calls.into_iter().for_each(|call| call.abort());
        let more: Vec<_> = (6..=8).map(|item| begin(&gather, &server, item)).collect();
        settle().await;
        assert_eq!(server.sent().last(), Some(&vec![6, 7, 8]), "a second one sends");
        server.answer(10);
        for call in more {
            assert!(call.await.unwrap().is_some());
        }
    }

    /// Who waits depends on nobody who may have stopped polling.
    #[tokio::test]
    async fn a_caller_who_stops_polling_holds_up_nobody() {
        let (gather, server) = (Arc::new(Gather::new(1, 10)), Server::slow());
        let to = server.clone();
        let mut first = Box::pin(gather.call(1, move |all| to.clone().take(all)));
        assert!(futures_util::poll!(&mut first).is_pending());
        server.answer(10);
        assert_eq!(begin(&gather, &server, 2).await.unwrap(), Some(20));
        assert_eq!(begin(&gather, &server, 3).await.unwrap(), Some(30));
        assert_eq!(first.await, Some(10));
    }

    #[tokio::test]
    async fn a_caller_who_goes_away_leaves_the_others_unharmed() {
        let (gather, server) = (Arc::new(Gather::new(1, 10)), Server::slow());
        let alone = begin(&gather, &server, 1);
        settle().await;
        let (gone, stays) = (begin(&gather, &server, 2), begin(&gather, &server, 3));
        settle().await;
        alone.abort();
        gone.abort();
        assert!(alone.await.is_err() && gone.await.is_err());
        server.answer(10);
        assert_eq!(stays.await.unwrap(), Some(30));
        settle().await;
        assert_eq!(begin(&gather, &server, 4).await.unwrap(), Some(40));
        assert_eq!(server.sent().last(), Some(&vec![4]), "it is alone again");
    }

    #[test]
    fn those_whose_sender_ended_with_its_runtime_are_told() {
        let (gather, server) = (Arc::new(Gather::new(1, 10)), Server::slow());
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (own, other) = (runtime(), runtime());
        own.block_on(async {
            begin(&gather, &server, 1);
            begin(&gather, &server, 2);
            server.came.notified().await;
            settle().await;
        });
        let waits = other.spawn({
            let (gather, server) = (gather.clone(), server.clone());
            async move { gather.call(3, move |all| server.clone().take(all)).await }
        });
        other.block_on(settle());
        drop(own);
        assert_eq!(other.block_on(waits).unwrap(), None);
        server.answer(10);
        let again = gather.call(4, {
            let server = server.clone();
            move |all| server.clone().take(all)
        });
        assert_eq!(other.block_on(again), Some(40));
    }

    #[test]
    fn those_who_wait_are_sent_by_the_sender_that_is_left() {
        let (gather, server) = (Arc::new(Gather::new(2, 1)), Server::slow());
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (own, other) = (runtime(), runtime());
        let begin_on = |runtime: &tokio::runtime::Runtime, item| {
            let _inside = runtime.enter();
            let call = begin(&gather, &server, item);
            runtime.block_on(settle());
            call
        };
        let _first = [begin_on(&own, 1), begin_on(&own, 2)];
        let rest = [begin_on(&other, 3), begin_on(&other, 4)];
        assert_eq!(server.sent(), [[1], [2], [3]], "each runtime has a sender, and one item waits");
        drop(own);
        server.answer(10);
        for (call, item) in rest.into_iter().zip(3..) {
            assert_eq!(other.block_on(call).unwrap(), Some(item * 10));
        }
        other.block_on(settle());
        let state = lock(&gather.state);
        assert_eq!((state.senders, state.alone), (0, 0));
    }

    #[test]
    fn an_error_is_told_to_each() {
        let unavailable = Error::Unavailable {
            backend: "a",
            during: "x",
            source: std::io::Error::other("gone").into(),
        };
        let told = same("b", "insert", &unavailable);
        assert!(told.is_transient());
        assert!(std::error::Error::source(&told).is_some_and(|why| why.to_string() == "gone"));
        assert!(matches!(same("b", "insert", &Error::Closed("b")), Error::Closed("b")));
        let other = same("b", "insert", &Error::NotFound { what: "it".into() });
        assert!(matches!(other, Error::Backend { .. }) && !other.is_transient());
    }
}
