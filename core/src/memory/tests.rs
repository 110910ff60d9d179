//! Random calls against the backend; after each, everything it knows must fit together.

use std::collections::BTreeMap;

use super::index::Index;
use super::locks::Locks;
use super::*;
use crate::machine::can_become;
use crate::*;

const CALLS: usize = 1_500;

fn kind(n: u8) -> Kind {
    Kind::new(format!("kind-{n}")).unwrap()
}

fn queue(n: u8) -> QueueName {
    QueueName::new(format!("queue-{n}")).unwrap()
}

fn seconds(max: u64) -> Duration {
    Duration::from_secs(fastrand::u64(0..max))
}

fn some_job() -> NewJob {
    let args = Payload::json("args").unwrap();
    let mut job = NewJob::new(kind(fastrand::u8(0..3)), queue(fastrand::u8(0..2)), args);
    job.priority = Priority(fastrand::i16(-1..2));
    job.max_attempts = fastrand::u32(1..5);
    job.start = if fastrand::bool() { Start::Now } else { Start::In(seconds(60)) };
    job.timeout = fastrand::bool().then_some(Duration::from_secs(90));
    job.blobs = blobs();
    if fastrand::bool() {
        job.unique = Some(Unique {
            key: UniqueKey::new(format!("key {}", fastrand::u8(0..6))).unwrap(),
            until: *choice(&[
                UniqueUntil::Started,
                UniqueUntil::Finished,
                UniqueUntil::For(Duration::from_secs(1) + seconds(120)),
            ]),
            on_conflict: *choice(&[OnConflict::Keep, OnConflict::Replace, OnConflict::Reject]),
        });
    }
    job
}

fn blobs() -> Vec<BlobKey> {
    (0..fastrand::u8(0..3)).map(|_| blob(fastrand::u8(0..20))).collect()
}

fn blob(n: u8) -> BlobKey {
    BlobKey::new(format!("blob-{n}")).unwrap()
}

fn choice<T>(of: &[T]) -> &T {
    &of[fastrand::usize(0..of.len())]
}

fn some_outcome() -> AttemptOutcome {
    let failure = Failure { kind: FailureKind::Error, message: "it failed".into() };
    match fastrand::u8(0..6) {
        0 => AttemptOutcome::Completed { result: None, blobs: blobs() },
        1 => AttemptOutcome::Retry { delay: seconds(30), failure },
        2 => AttemptOutcome::Discarded { failure },
        3 => AttemptOutcome::Cancelled { failure },
        4 => AttemptOutcome::Snoozed { delay: seconds(30) },
        _ => AttemptOutcome::Released,
    }
}

fn some_change() -> Change {
    match fastrand::u8(0..4) {
        0 => Change::Cancel { reason: Some("not wanted".into()) },
        1 => Change::Retry,
        2 => Change::Reschedule { start: Start::In(seconds(60)) },
        _ => Change::Delete,
    }
}

/// What a user and a few workers hold, stale keys included.
struct World {
    backend: MemoryBackend,
    workers: Vec<WorkerId>,
    keys: Vec<LeaseKey>,
    ids: Vec<JobId>,
}

impl World {
    async fn call(&mut self) -> Result<()> {
        match fastrand::u8(0..12) {
            0..3 => {
                let jobs: Vec<_> = (0..fastrand::u8(1..4)).map(|_| some_job()).collect();
                self.ids.extend(self.backend.insert(&jobs).await?.iter().map(Inserted::id));
            }
            3..5 => self.claim().await?,
            5..8 => self.settle().await?,
            8 => drop(self.backend.maintain(fastrand::u32(1..20)).await?),
            9 => {
                let ids = Selector::Ids(vec![*choice(&self.ids)]);
                self.backend.change(&ChangeRequest::new(ids, some_change())).await?;
            }
            10 => {
                let worker = *choice(&self.workers);
                self.backend.heartbeat(worker, &self.keys).await?;
                self.backend.stage_blobs(&[blob(fastrand::u8(0..20))], seconds(60)).await?;
            }
            _ => self.let_time_pass().await?,
        }
        Ok(())
    }

    async fn claim(&mut self) -> Result<()> {
        let queues = [0, 1].map(|n| QueueSlots { queue: queue(n), limit: fastrand::u32(0..3) });
        let kinds = [0, 1].map(|n| KindSlots { kind: kind(n), limit: Some(2) });
        let worker = *choice(&self.workers);
        let mut request = ClaimRequest::new(worker, queues.into(), kinds.into());
        request.lane = *choice(&[Lane::Normal, Lane::Normal, Lane::Quarantine]);
        match self.backend.claim(&request).await {
            Ok(claimed) => {
                assert!(self.alive(worker), "only a worker with a lease claims");
                request.resend = true;
                let again = self.backend.claim(&request).await?;
                if !claimed.leases.is_empty() {
                    assert_eq!(again, claimed, "a repeated claim gives the same leases");
                }
                self.keys.extend(again.leases.iter().map(|lease| lease.key));
                Ok(())
            }
            Err(Error::WorkerExpired { .. }) => self.register().await,
            Err(error) => Err(error),
        }
    }

    fn alive(&self, worker: WorkerId) -> bool {
        let now = self.backend.now();
        self.backend.lock().alive(worker, now)
    }

    async fn register(&mut self) -> Result<()> {
        let info = WorkerInfo::new("test", Duration::from_secs(60), Vec::new());
        self.backend.register(&info).await?;
        self.workers.push(info.id);
        self.workers.drain(..self.workers.len().saturating_sub(3));
        Ok(())
    }

    async fn settle(&mut self) -> Result<()> {
        if self.keys.is_empty() {
            return Ok(());
        }
        let key = self.keys[fastrand::usize(0..self.keys.len())];
        let mut settlement = Settlement::new(key, some_outcome());
        if matches!(settlement.outcome, AttemptOutcome::Completed { .. }) {
            settlement.follow_ups = vec![some_job()];
        }
        // A batch may hold a settlement twice.
        let settled = self.backend.settle(&[settlement.clone(), settlement]).await?;
        let second = match settled[0] {
            Settled::Applied { state } if state.is_final() => Settled::Already { state },
            Settled::Applied { .. } => Settled::Lost,
            ref same => same.clone(),
        };
        assert_eq!(settled[1], second);
        Ok(())
    }

    async fn let_time_pass(&mut self) -> Result<()> {
        self.backend.advance(seconds(40));
        let mut retention = Retention::keep_all();
        retention.completed = Some(Duration::from_secs(300));
        retention.events = Some(Duration::from_secs(600));
        let pruned = self.backend.prune(&retention, 5).await?;
        self.nobody_refers_to(&pruned.blobs);
        self.backend.blobs_deleted(&pruned.blobs).await
    }

    fn nobody_refers_to(&self, keys: &[BlobKey]) {
        let inner = self.backend.lock();
        let used = |key| {
            inner
                .jobs
                .values()
                .any(|row| row.args_blobs.contains(key) || row.result_blobs.contains(key))
        };
        assert!(!keys.iter().any(used), "a blob that is in use was named for deletion");
    }
}

#[tokio::test]
async fn handles_share_jobs_and_are_closed_apart() {
    let (one, job) = (MemoryBackend::new(), some_job());
    let two = one.clone();
    one.insert(std::slice::from_ref(&job)).await.unwrap();
    let queues = [job.queue.clone()];
    let waiting = one.wait(&queues, Duration::from_secs(3_600));
    let (woken, closed) = tokio::join!(biased; waiting, one.close());
    assert!(matches!(woken, Err(Error::Closed(_))), "{woken:?}");
    assert!(closed.is_ok());
    assert!(matches!(one.get(job.id).await, Err(Error::Closed(_))));
    assert!(two.get(job.id).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn hints_come_for_the_queues_waited_for() {
    let backend = MemoryBackend::with_tokio_clock();
    let mut job = some_job();
    job.start = Start::Now;
    let others = [QueueName::new("other").unwrap()];
    let queues = [job.queue.clone()];
    let minute = Duration::from_secs(60);
    let (mine, other, inserted) = tokio::join!(
        biased;
        backend.wait(&queues, minute),
        backend.wait(&others, minute),
        backend.insert(std::slice::from_ref(&job)),
    );
    assert_eq!((mine.unwrap(), other.unwrap()), (Wake::Hint, Wake::Timeout));
    assert!(inserted.unwrap()[0].is_new());
}

/// F6: the id of an incarnation is used up, even when nobody remembers its jobs.
#[tokio::test]
async fn f06_a_worker_id_is_never_used_again() {
    let backend = MemoryBackend::new();
    let worker = || WorkerInfo::new("test", Duration::from_secs(60), Vec::new());
    let (lapsed, left) = (worker(), worker());
    backend.register(&lapsed).await.unwrap();
    backend.register(&left).await.unwrap();
    backend.deregister(left.id).await.unwrap();
    backend.advance(Duration::from_secs(61));
    assert_eq!(backend.maintain(9).await.unwrap().workers_removed, 1);
    for info in [lapsed, left] {
        let again = backend.register(&info).await;
        assert!(matches!(again, Err(Error::WorkerExpired { worker }) if worker == info.id));
    }
}

#[tokio::test]
async fn the_oldest_finish_is_pruned_first_whatever_its_state() {
    let backend = MemoryBackend::new();
    let mut jobs = Vec::new();
    for outcome in [State::Discarded, State::Completed, State::Cancelled, State::Completed] {
        let job = NewJob { start: Start::Now, unique: None, ..some_job() };
        backend.insert(std::slice::from_ref(&job)).await.unwrap();
        finish(&backend, job.id, outcome).await;
        backend.advance(Duration::from_secs(1));
        jobs.push(job.id);
    }
    let mut retention = Retention::default();
    let second = Some(Duration::from_secs(1));
    (retention.completed, retention.cancelled, retention.discarded) = (second, second, second);
    for (pruned, id) in jobs.iter().enumerate() {
        assert!(backend.get(*id).await.unwrap().is_some());
        let done = backend.prune(&retention, 1).await.unwrap();
        assert_eq!((done.jobs, done.more), (1, pruned < 3));
        assert_eq!(backend.get(*id).await.unwrap(), None, "in the order of their finish");
    }
}

async fn finish(backend: &MemoryBackend, id: JobId, state: State) {
    let worker = WorkerInfo::new("test", Duration::from_secs(60), Vec::new());
    backend.register(&worker).await.unwrap();
    let queues = [0, 1].map(|n| QueueSlots { queue: queue(n), limit: 1 });
    let kinds = [0, 1, 2].map(|n| KindSlots { kind: kind(n), limit: None });
    let request = ClaimRequest::new(worker.id, queues.into(), kinds.into());
    let claimed = backend.claim(&request).await.unwrap();
    let failure = Failure { kind: FailureKind::Error, message: "it failed".into() };
    let outcome = match state {
        State::Completed => AttemptOutcome::Completed { result: None, blobs: Vec::new() },
        State::Cancelled => AttemptOutcome::Cancelled { failure },
        _ => AttemptOutcome::Discarded { failure },
    };
    let key = claimed.leases[0].key;
    let settled = backend.settle(&[Settlement::new(key, outcome)]).await.unwrap();
    assert_eq!((key.job, settled), (id, vec![Settled::Applied { state }]));
}

#[tokio::test]
#[cfg_attr(miri, ignore = "thousands of rounds")]
async fn everything_fits_together_after_any_calls() {
    let mut states = BTreeMap::new();
    // Chance may miss a rare state in one round, not in ten.
    for _ in 0..10 {
        let seed = fastrand::u64(..);
        fastrand::seed(seed);
        any_calls(seed, &mut states).await;
        if states.len() == State::ALL.len() - 1 {
            return;
        }
    }
    panic!(
        "all states but blocked are to be reached, or the calls miss what they should test: {states:?}"
    );
}

async fn any_calls(seed: u64, states: &mut BTreeMap<State, u64>) {
    let mut world = World {
        backend: MemoryBackend::new(),
        workers: Vec::new(),
        keys: Vec::new(),
        ids: vec![JobId::new()],
    };
    world.register().await.unwrap();
    for call in 0..CALLS {
        world.call().await.unwrap_or_else(|error| panic!("seed {seed}, call {call}: {error}"));
        let inner = world.backend.lock();
        for row in inner.jobs.values() {
            *states.entry(row.job.state).or_insert(0) += 1;
        }
        fits_together(&inner, &format!("seed {seed}, call {call}"));
    }
}

fn fits_together(inner: &Inner, at: &str) {
    let mut index = Index::default();
    inner.jobs.values().for_each(|row| index.add(row));
    assert!(index == inner.index, "{at}: an index does not agree with the jobs");
    let mut blobs: BTreeMap<BlobKey, u64> = BTreeMap::new();
    for row in inner.jobs.values() {
        owner_fits_state(row, at);
        history_fits_state(row, at);
        key_fits_state(row, &inner.locks, at);
        for key in row.args_blobs.iter().chain(&row.result_blobs) {
            *blobs.entry(key.clone()).or_default() += 1;
        }
    }
    assert!(inner.blobs.fit(&blobs), "{at}: the account of blobs does not agree with the jobs");
    // F18: nobody is deregistered here, so every worker is known until its last job is taken from it.
    assert!(inner.index.running.keys().all(|id| inner.workers.contains_key(id)), "{at}");
}

fn owner_fits_state(row: &state::Row, at: &str) {
    let job = &row.job;
    assert_eq!(job.worker.is_some(), job.claim_id.is_some(), "{at}");
    match job.state {
        State::Running => assert!(row.key().is_some(), "{at}: nobody runs {job:?}"),
        state if state.is_final() => assert!(job.finished_at.is_some(), "{at}"),
        _ => assert!(row.key().is_none() && job.finished_at.is_none(), "{at}: {job:?}"),
    }
}

fn history_fits_state(row: &state::Row, at: &str) {
    let page = row.history.read(None, usize::MAX);
    assert!(page.events.is_sorted_by(|a, b| a.position < b.position), "{at}");
    let mut last = None;
    for event in page.events {
        if let EventBody::State { from, to, .. } = event.body {
            assert_eq!(from, last, "{at}");
            assert!(from.is_none_or(|from| can_become(from, to)), "{at}: {from:?} to {to}");
            last = Some(to);
        }
    }
    assert_eq!(last, Some(row.job.state), "{at}");
}

fn key_fits_state(row: &state::Row, locks: &Locks, at: &str) {
    let (job, Some(key)) = (&row.job, &row.job.unique_key) else { return };
    let holds = locks.lasting_holder(key) == Some(job.id);
    match row.until {
        Some(UniqueUntil::Finished) => assert_eq!(holds, !job.state.is_final(), "{at}: {job:?}"),
        Some(UniqueUntil::Started) if job.state == State::Running || job.state.is_final() => {
            assert!(!holds, "{at}: {job:?}");
        }
        _ => {}
    }
}
