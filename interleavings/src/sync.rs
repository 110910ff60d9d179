//! What the files of the core share their state by, with a place before each step where another thread may go on.

use std::ops::Add;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use loom::sync::Condvar;
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
pub(crate) use loom::sync::{Mutex, MutexGuard};
pub(crate) use std::sync::PoisonError;
use tokio::sync::futures;

/// Steps on one and the same thing come one after the other, and the later one sees what came before the earlier one, as with the locks inside of Tokio's.
#[derive(Debug, Default)]
pub(crate) struct Step(AtomicUsize);

impl Step {
    pub(crate) fn pass(&self) {
        // What a failed model leaves behind is dropped outside of it.
        if !std::thread::panicking() {
            self.0.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// Runs a future on this thread.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let parker = Arc::new(Parker { woken: Mutex::new(false), changed: Condvar::new() });
    let waker = Waker::from(parker.clone());
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return done;
        }
        let mut woken = crate::lock(&parker.woken);
        while !*woken {
            woken = parker.changed.wait(woken).unwrap_or_else(PoisonError::into_inner);
        }
        *woken = false;
    }
}

struct Parker {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        *crate::lock(&self.woken) = true;
        self.changed.notify_one();
    }
}

/// Runs a future on a thread of its own.
pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    drop(loom::thread::spawn(move || block_on(future)));
}

#[derive(Debug, Default)]
pub(crate) struct Notify {
    inner: tokio::sync::Notify,
    step: Step,
}

impl Notify {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn notify_one(&self) {
        self.step.pass();
        self.inner.notify_one();
    }

    pub(crate) fn notify_waiters(&self) {
        self.step.pass();
        self.inner.notify_waiters();
    }

    pub(crate) fn notified(&self) -> Notified<'_> {
        self.step.pass();
        Notified { inner: Box::pin(self.inner.notified()), step: &self.step }
    }
}

pub(crate) struct Notified<'n> {
    inner: Pin<Box<futures::Notified<'n>>>,
    step: &'n Step,
}

impl Notified<'_> {
    pub(crate) fn enable(mut self: Pin<&mut Self>) -> bool {
        self.step.pass();
        self.inner.as_mut().enable()
    }
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.step.pass();
        self.inner.as_mut().poll(context)
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        // It leaves the line, and may pass on what it was told.
        self.step.pass();
    }
}

/// A moment of the models' own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(Duration);

#[derive(Default)]
struct Clock {
    now: Duration,
    sleepers: Vec<(Duration, Waker)>,
}

loom::lazy_static! {
    /// It stands still unless a model moves it on.
    static ref CLOCK: Mutex<Clock> = Mutex::default();
}

impl Instant {
    pub(crate) fn now() -> Self {
        Self(crate::lock(&CLOCK).now)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0 + time)
    }
}

/// Moves time on, and wakes those whose time has come.
pub(crate) fn pass(time: Duration) {
    let due: Vec<_> = {
        let mut clock = crate::lock(&CLOCK);
        clock.now += time;
        let now = clock.now;
        clock.sleepers.extract_if(.., |(at, _)| *at <= now).collect()
    };
    for (_, sleeper) in due {
        sleeper.wake();
    }
}

pub(crate) async fn sleep_until(at: Instant) {
    std::future::poll_fn(|context| {
        let mut clock = crate::lock(&CLOCK);
        if at.0 <= clock.now {
            return Poll::Ready(());
        }
        clock.sleepers.push((at.0, context.waker().clone()));
        Poll::Pending
    })
    .await;
}

/// A channel for one message.
pub(crate) mod oneshot {
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll};

    use tokio::sync::oneshot;
    use tokio::sync::oneshot::error::{RecvError, TryRecvError};

    use super::Step;

    pub(crate) fn channel<T>() -> (Sender<T>, Receiver<T>) {
        let (sender, inner) = oneshot::channel();
        let step = Arc::new(Step::default());
        (Sender { inner: Some(sender), step: step.clone() }, Receiver { inner, step })
    }

    #[derive(Debug)]
    pub(crate) struct Sender<T> {
        inner: Option<oneshot::Sender<T>>,
        step: Arc<Step>,
    }

    impl<T> Sender<T> {
        pub(crate) fn send(mut self, message: T) -> Result<(), T> {
            self.step.pass();
            match self.inner.take() {
                Some(inner) => inner.send(message),
                None => Err(message),
            }
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            self.step.pass();
        }
    }

    #[derive(Debug)]
    pub(crate) struct Receiver<T> {
        inner: oneshot::Receiver<T>,
        step: Arc<Step>,
    }

    impl<T> Receiver<T> {
        pub(crate) fn close(&mut self) {
            self.step.pass();
            self.inner.close();
        }

        pub(crate) fn try_recv(&mut self) -> Result<T, TryRecvError> {
            self.step.pass();
            self.inner.try_recv()
        }
    }

    impl<T> Future for Receiver<T> {
        type Output = Result<T, RecvError>;

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
            self.step.pass();
            Pin::new(&mut self.inner).poll(context)
        }
    }

    impl<T> Drop for Receiver<T> {
        fn drop(&mut self) {
            self.step.pass();
        }
    }
}
