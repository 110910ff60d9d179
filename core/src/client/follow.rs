//! Following events: [`Client::subscribe`].

use std::collections::VecDeque;

use futures_core::Stream;
use futures_util::stream;
use tokio::time::Instant;

use super::retry::{self, POLL, Pace};
use crate::{Backend, Client, Event, EventFilter, EventPage, JobId, Position, Result};

/// Where to start following.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Since {
    /// With the oldest event kept.
    Start,
    /// With what happens after the call.
    #[default]
    Now,
    /// After an event seen before: a reader that stores the position of each event misses nothing across its restarts.
    After(Position),
}

/// What a follower gets.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Followed {
    /// The next event.
    Event(Event),
    /// Events before the next one were pruned before they were read. A reader that keeps a picture of the jobs
    /// reads it anew.
    Gap,
}

impl Followed {
    /// The event, if it is one.
    #[must_use]
    pub fn into_event(self) -> Option<Event> {
        match self {
            Self::Event(event) => Some(event),
            Self::Gap => None,
        }
    }
}

impl<B: Backend + ?Sized> Client<B> {
    /// Follows events in the order of their positions, live, from any process. A filter that names exactly one job
    /// reads that job's own history, which is kept as long as the job.
    ///
    /// The reader pulls: nothing is buffered for it but one page, and a slow one holds up nobody. When the backend is away,
    /// the stream waits for it and goes on where it was; any other error is its last item. It ends by
    /// itself only when it follows one job and that job is gone from the store.
    ///
    /// # Errors
    /// With [`Since::Now`], when the backend can't be asked where now is.
    pub async fn subscribe(
        &self,
        filter: EventFilter,
        since: Since,
    ) -> Result<impl Stream<Item = Result<Followed>> + Send + Unpin + use<B>> {
        let after = match since {
            Since::Start => None,
            Since::Now => retry::repeat(|| self.backend.tail()).await?.0,
            Since::After(position) => Some(position),
        };
        let job = match *filter.jobs {
            [job] => Some(job),
            _ => None,
        };
        let reader = Reader {
            client: self.clone(),
            filter,
            job,
            seen: matches!(since, Since::After(_)),
            after,
            ready: VecDeque::new(),
            ended: false,
            failures: 0,
            pace: Pace::new(),
            checked: Instant::now(),
        };
        Ok(Box::pin(stream::unfold(reader, |mut reader| async move {
            reader.next().await.map(|item| (item, reader))
        })))
    }
}

struct Reader<B: Backend + ?Sized> {
    client: Client<B>,
    filter: EventFilter,
    /// The only job followed.
    job: Option<JobId>,
    /// That job is known to have existed.
    seen: bool,
    after: Option<Position>,
    ready: VecDeque<Followed>,
    ended: bool,
    failures: u32,
    pace: Pace,
    checked: Instant,
}

impl<B: Backend + ?Sized> Reader<B> {
    async fn next(&mut self) -> Option<Result<Followed>> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(Ok(item));
            }
            if self.ended {
                return None;
            }
            let round = match self.job {
                Some(job) => self.read_job(job).await,
                None => self.read_feed().await,
            };
            match round {
                Ok(()) => self.failures = 0,
                Err(error) if retry::passing(&error) => {
                    self.failures = self.failures.saturating_add(1);
                    let failures = self.failures;
                    tracing::debug!(%error, failures, "can't read events, trying again");
                    tokio::time::sleep(retry::pause(failures)).await;
                }
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
    }

    async fn read_feed(&mut self) -> Result<()> {
        let limit = self.client.page_size();
        let page = self.client.backend.events(&self.filter, self.after, limit).await?;
        let more = page.more;
        if !self.take(page) && !more {
            self.client.backend.watch(self.after, POLL).await?;
        }
        Ok(())
    }

    /// The history moves only with its job, so hints are asked for from the feed's end, read before it.
    async fn read_job(&mut self, job: JobId) -> Result<()> {
        let tail = self.client.backend.tail().await?;
        let page = self.client.backend.history(job, self.after, self.client.page_size()).await?;
        let more = page.more;
        self.seen |= !page.events.is_empty();
        if self.take(page) {
            self.pace = Pace::new();
        } else if !more {
            if self.checked.elapsed() >= POLL {
                self.checked = Instant::now();
                self.ended = self.seen && self.client.backend.get(job).await?.is_none();
            }
            self.pace.watch(&*self.client.backend, tail).await?;
        }
        Ok(())
    }

    /// Takes over a page; says whether something is ready.
    fn take(&mut self, page: EventPage) -> bool {
        if page.gap {
            self.ready.push_back(Followed::Gap);
        }
        let passed = page.events.into_iter().filter(|event| self.filter.matches(event));
        self.ready.extend(passed.map(Followed::Event));
        self.after = page.next.or(self.after);
        !self.ready.is_empty()
    }
}
