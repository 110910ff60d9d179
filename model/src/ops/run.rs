//! Runs a sequence on both backends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use windlass_checker::history::What;
use windlass_checker::{Journal as _, Recorder, changing};
use windlass_core::{
    AttemptOutcome, Backend, Change, ChangeRequest, ClaimId, ClaimRequest, Epoch, Failure,
    FailureKind, JobFilter, JobId, JobQuery, JobRecord, LeaseKey, NewJob, Note, OnConflict, Order,
    Priority, Progress, QueueChange, Record, Result, Retention, Selector, Settlement, Start,
    StatsQuery, Store, Unique, UniqueUntil, WorkerId, WorkerInfo,
};

use super::compare::{Seen, same, saw, shows_order, slack, tell};
use super::host::{Call, within};
use super::judge::{Book, judge};
use super::make::{blob, claim_request, filter, key, kind, note, payload, queue, tag};
use super::op::{End, Filter, Index, Meddling, Op, Outcome, Rule, Settle, Span, Spec, Step, Twist};
use super::read::{ALL, after_tail, all_jobs, feed, history, maintain, workers};
use super::{Model, Real, Time};

/// Longer than any run, and within every limit.
pub(super) const FAR: Duration = Duration::from_secs(30 * 86_400);

/// A lease that runs out, where time is waited for. No call comes in its second half: both backends must be asked while they agree on whether it
/// lasts.
const LEASE: Duration = Duration::from_secs(2);
/// For clocks that are read a little early.
const LATE: Duration = Duration::from_millis(100);

/// What was done so far, to choose from.
struct Run<'a> {
    model: &'a Model,
    /// The model as it is asked, and what it answered.
    recorder: Recorder<dyn Backend, Book>,
    real: &'a Real,
    jobs: Vec<JobId>,
    /// How many were made, also under an id that was there before.
    specs: usize,
    workers: Vec<WorkerInfo>,
    claims: Vec<ClaimRequest>,
    keys: Vec<LeaseKey>,
    settled: Vec<Settlement>,
    /// Workers that have left.
    left: Vec<WorkerId>,
    /// Some left since the last maintenance.
    leaving: bool,
    /// There was maintenance, so workers without a lease may be gone.
    maintained: bool,
    /// A short span began that must be over before the next operation.
    began: bool,
    /// Some span was short at all.
    short: bool,
    /// An operation is at hand in which no time can be waited for.
    at_once: bool,
    /// Rows of the host's that were committed.
    rows: Vec<String>,
    /// Where time is waited for: when a lease that runs out began at the earliest, and by when all such have run out.
    lease: Option<(Instant, Instant)>,
    /// What both backends needed for one call, at most.
    longest: Duration,
    /// Jobs that are stored, and how often each lost its worker.
    stored: BTreeMap<JobId, u32>,
    /// Ids under which more than one job was sent: a history can't tell them apart.
    again: BTreeSet<JobId>,
    /// What answers came.
    seen: Seen,
}

/// The same call on both, and the comparison of the answers.
macro_rules! both {
    ($run:expr, $what:expr, |$on:ident| $call:expr) => {{
        let begun = Instant::now();
        let $on: &dyn Backend = &$run.recorder;
        let memory = $call.await;
        let $on: &dyn Backend = &*$run.real.backend;
        let real = $call.await;
        $run.longest = $run.longest.max(begun.elapsed());
        tell(&memory, &mut $run.seen);
        same($what, &memory, &real, slack($run.longest)).map(|()| memory)
    }};
}

/// Runs operations on a fresh model and a fresh real backend, and checks the history of the model. Answers how often each sort of answer came.
///
/// # Errors
/// The first difference, with the operation before it, or what the checker finds.
pub async fn run(model: &Model, real: &Real, ops: &[Op]) -> Result<Seen, String> {
    let mut run = Run {
        model,
        recorder: Recorder::new(model.backend.clone(), Book::new(model.clock.clone())),
        real,
        jobs: Vec::new(),
        specs: 0,
        workers: Vec::new(),
        claims: Vec::new(),
        keys: Vec::new(),
        settled: Vec::new(),
        left: Vec::new(),
        leaving: false,
        maintained: false,
        began: false,
        short: false,
        at_once: false,
        rows: Vec::new(),
        lease: None,
        longest: Duration::ZERO,
        stored: BTreeMap::new(),
        again: BTreeSet::new(),
        seen: Seen::new(),
    };
    for (at, op) in ops.iter().enumerate() {
        let stage = async {
            run.keep_clear().await;
            run.apply(op).await?;
            if std::mem::take(&mut run.began) && matches!(real.time, Time::Waited) {
                run.pass().await;
            }
            run.compare_jobs(op).await
        };
        stage.await.map_err(|text| format!("operation {at}, {op:?}\n{text}"))?;
    }
    if run.lease.is_some() {
        run.outlast().await;
    }
    run.compare_all().await?;
    judge(&run.recorder, &run.again).await?;
    Ok(run.seen)
}

/// Whether jobs may be gone after an operation.
const fn removes(op: &Op) -> bool {
    matches!(
        op,
        Op::Prune(_)
            | Op::Change(_, Meddling::Delete)
            | Op::ChangeQueue(_, Meddling::Delete)
            | Op::ChangeSome(_, Meddling::Delete)
    )
}

fn pick<T>(items: &[T], index: Index) -> Option<&T> {
    items.get(usize::from(index).checked_rem(items.len())?)
}

impl Run<'_> {
    fn span(&mut self, span: Span) -> Duration {
        match span {
            Span::Zero => Duration::ZERO,
            // Between two calls in a transaction it might end, or not.
            Span::Soon if self.at_once && matches!(self.real.time, Time::Waited) => FAR,
            Span::Soon => {
                (self.began, self.short) = (true, true);
                self.real.soon()
            }
            Span::Far => FAR,
        }
    }

    async fn pass(&self) {
        match &self.real.time {
            Time::Moved(advance) => {
                self.model.clock.advance(self.real.soon());
                advance(self.real.soon());
            }
            Time::Waited => tokio::time::sleep(self.real.soon() * 2).await,
        }
    }

    /// A lease that may be about to run out is waited out first.
    async fn keep_clear(&mut self) {
        if self.lease.is_some_and(|(begun, _)| begun.elapsed() > LEASE / 2) {
            self.outlast().await;
        }
    }

    async fn outlast(&mut self) {
        let lease = self.lease.take();
        match (&self.real.time, lease) {
            (Time::Moved(_), _) => self.pass().await,
            (Time::Waited, Some((_, end))) => {
                let left = end.saturating_duration_since(Instant::now());
                tokio::time::sleep(left + LATE).await;
            }
            (Time::Waited, None) => {}
        }
    }

    /// A worker was given a lease, or a longer one, by calls that began at this time.
    fn leased(&mut self, info: &WorkerInfo, begun: Instant) {
        if info.lease < FAR && matches!(self.real.time, Time::Waited) {
            let first = self.lease.map_or(begun, |(first, _)| first.min(begun));
            self.lease = Some((first, Instant::now() + LEASE));
        }
    }

    async fn apply(&mut self, op: &Op) -> Result<(), String> {
        match op {
            Op::Register(lease) => {
                // What is too short for an answer is no lease: where time is waited for, such a one is `RegisterBriefly`'s.
                let lease = match self.real.time {
                    Time::Moved(_) => self.span(*lease),
                    Time::Waited => FAR,
                };
                let info = WorkerInfo::new("w", lease, vec![queue(0)]);
                self.workers.push(info.clone());
                both!(self, "register", |on| on.register(&info)).map(drop)
            }
            Op::RegisterBriefly => {
                let lease = match self.real.time {
                    Time::Moved(_) => self.span(Span::Soon),
                    Time::Waited => LEASE,
                };
                let info = WorkerInfo::new("w", lease, vec![queue(0)]);
                self.workers.push(info.clone());
                let begun = Instant::now();
                let told = both!(self, "register", |on| on.register(&info)).map(drop);
                self.leased(&info, begun);
                told
            }
            Op::RegisterAgain(worker) => {
                let Some(info) = pick(&self.workers, *worker).cloned() else { return Ok(()) };
                let may_be_forgotten = self.maintained && info.lease < FAR;
                if self.left.contains(&info.id) || may_be_forgotten {
                    return Ok(());
                }
                self.began |= info.lease < FAR;
                let begun = Instant::now();
                let told = both!(self, "register again", |on| on.register(&info)).map(drop);
                self.leased(&info, begun);
                told
            }
            Op::Heartbeat(worker, owned, own) => self.heartbeat(*worker, owned, *own).await,
            Op::Deregister(worker) => {
                let Some(id) = self.worker(*worker) else { return Ok(()) };
                self.left.push(id);
                self.leaving = true;
                both!(self, "deregister", |on| on.deregister(id)).map(drop)
            }
            Op::Insert(specs) => {
                let jobs: Vec<_> = specs.iter().map(|spec| self.job(spec)).collect();
                both!(self, "insert", |on| on.insert(&jobs)).map(drop)
            }
            Op::Claim { worker, queues, kinds, quarantine } => {
                let Some(id) = self.worker(*worker) else { return Ok(()) };
                let request = claim_request(id, queues, kinds, *quarantine);
                self.claims.push(request.clone());
                self.claim(&request).await
            }
            Op::ClaimAgain(claim) => {
                let Some(mut request) = pick(&self.claims, *claim).cloned() else {
                    return Ok(());
                };
                request.resend = true;
                self.claim(&request).await
            }
            Op::Settle(settles) => {
                let settled: Vec<_> =
                    settles.iter().filter_map(|settle| self.settlement(settle)).collect();
                self.settled.clone_from(&settled);
                self.settle("settle", &settled).await
            }
            Op::SettleAgain => {
                let settled = self.settled.clone();
                self.settle("settle again", &settled).await
            }
            Op::Transact(steps, end) => self.transact(steps, *end).await,
            Op::Record(key, twist) => {
                let Some(key) = self.key(*key, *twist) else { return Ok(()) };
                let progress = Note::Progress(Progress { done: 1, ..Progress::default() });
                let records = [Record::new(key, vec![progress])];
                both!(self, "record", |on| on.record(&records)).map(drop)
            }
            Op::Append(job) => {
                let Some(id) = pick(&self.jobs, *job).copied() else { return Ok(()) };
                let notes = [note("a host's line")];
                both!(self, "append", |on| on.append(id, &notes)).map(drop)
            }
            Op::Change(job, meddling) => {
                let Some(id) = pick(&self.jobs, *job).copied() else { return Ok(()) };
                self.change(Selector::Ids(vec![id]), *meddling).await
            }
            Op::ChangeQueue(of, meddling) => {
                let filter = JobFilter::default().queue(queue(*of));
                self.change(Selector::Filter(filter), *meddling).await
            }
            Op::ChangeSome(some, meddling) => {
                self.change(Selector::Filter(filter(some)), *meddling).await
            }
            Op::Get(job) => {
                let Some(id) = pick(&self.jobs, *job).copied() else { return Ok(()) };
                both!(self, "get", |on| on.get(id)).map(drop)
            }
            Op::List(some, most, newest) => self.list(some, *most, *newest).await,
            Op::Tail => both!(self, "the end of the feed", |on| after_tail(on)).map(drop),
            Op::History(job, most) => {
                let Some(id) = pick(&self.jobs, *job).copied() else { return Ok(()) };
                both!(self, "history in pages", |on| history(on, id, *most)).map(drop)
            }
            Op::Stage(name, span) => {
                let (keys, ttl) = ([blob(*name)], self.span(*span));
                both!(self, "stage", |on| on.stage_blobs(&keys, ttl)).map(drop)
            }
            Op::BlobDeleted(name) => {
                let keys = [blob(*name)];
                both!(self, "blob deleted", |on| on.blobs_deleted(&keys)).map(drop)
            }
            Op::Configure { queue: of, paused, concurrency, max_depth } => {
                let mut change = QueueChange::default();
                change.paused = *paused;
                change.concurrency = *concurrency;
                change.max_depth = *max_depth;
                let name = queue(*of);
                both!(self, "configure", |on| on.configure_queue(&name, &change)).map(drop)
            }
            Op::Maintain => self.maintain().await,
            Op::Prune(span) => {
                let mut retention = Retention::keep_all();
                let keep = Some(self.span(*span));
                (retention.completed, retention.cancelled, retention.discarded) =
                    (keep, keep, keep);
                // Not before it is over, where that is waited for.
                if std::mem::take(&mut self.began) && matches!(self.real.time, Time::Waited) {
                    self.pass().await;
                }
                both!(self, "prune", |on| on.prune(&retention, 1_000)).map(drop)
            }
            Op::Pass => {
                self.pass().await;
                Ok(())
            }
            Op::Outlast => {
                self.outlast().await;
                Ok(())
            }
        }
    }

    /// The memory backend joins no transaction: it is asked plainly, if there is a commit.
    async fn transact(&mut self, steps: &[Step], end: End) -> Result<(), String> {
        self.at_once = true;
        let calls: Vec<_> = steps.iter().filter_map(|step| self.call(step)).collect();
        self.at_once = false;
        let real = self.real;
        let Some(host) = &real.host else {
            return match end {
                End::Rollback => Ok(()),
                End::Commit | End::CommitLater => self.plainly(&calls).await,
            };
        };
        let row = format!("row {:03}", self.rows.len());
        let rolled_back = match end {
            End::Commit => None,
            End::Rollback | End::CommitLater => Some(within(&**host, &row, &calls, false).await),
        };
        saw(&mut self.seen, "a transaction rolled back", rolled_back.is_some());
        // What is left of it would be another answer, or another store.
        let rows = host.rows().await;
        if rows != self.rows {
            return Err(format!("the rows are {rows:?} in place of {:?}", self.rows));
        }
        if end == End::Rollback {
            return Ok(());
        }
        let begun = Instant::now();
        let committed = within(&**host, &row, &calls, true).await;
        let mut memory = Vec::new();
        for call in &calls {
            memory.push(call.plainly(&self.recorder).await);
        }
        self.longest = self.longest.max(begun.elapsed());
        memory.iter().for_each(|answer| answer.tell(&mut self.seen));
        saw(&mut self.seen, "a transaction committed", true);
        let slack = slack(self.longest);
        for (what, real) in
            [("in a transaction", Some(committed)), ("in one that was rolled back", rolled_back)]
        {
            let mut pairs = memory.iter().zip(real.iter().flatten());
            pairs.try_for_each(|(memory, real)| memory.same(what, real, slack))?;
        }
        self.rows.push(row);
        let rows = host.rows().await;
        if rows != self.rows {
            return Err(format!("the rows are {rows:?} in place of {:?}", self.rows));
        }
        Ok(())
    }

    fn call(&mut self, step: &Step) -> Option<Call> {
        match step {
            Step::Insert(specs) => {
                Some(Call::Insert(specs.iter().map(|spec| self.job(spec)).collect()))
            }
            Step::Settle(settle) => {
                let settlement = self.settlement(settle)?;
                self.settled = vec![settlement.clone()];
                Some(Call::Settle(settlement))
            }
        }
    }

    async fn plainly(&mut self, calls: &[Call]) -> Result<(), String> {
        for call in calls {
            match call {
                Call::Insert(jobs) => both!(self, "insert", |on| on.insert(jobs)).map(drop)?,
                Call::Settle(one) => {
                    let one = std::slice::from_ref(one);
                    both!(self, "settle", |on| on.settle(one)).map(drop)?;
                }
            }
        }
        Ok(())
    }

    /// In one call, unless the order in which a backend applies them could be seen: that of a follow-up and of another settlement is its own.
    async fn settle(&mut self, what: &str, all: &[Settlement]) -> Result<(), String> {
        if !shows_order(all) {
            return both!(self, what, |on| on.settle(all)).map(drop);
        }
        for one in all {
            both!(self, what, |on| on.settle(std::slice::from_ref(one))).map(drop)?;
        }
        Ok(())
    }

    async fn maintain(&mut self) -> Result<(), String> {
        let uncounted = std::mem::take(&mut self.leaving);
        self.maintained = true;
        both!(self, "maintain", |on| maintain(on, uncounted)).map(drop)
    }

    fn worker(&mut self, worker: Index) -> Option<WorkerId> {
        pick(&self.workers, worker).map(|info| info.id)
    }

    async fn heartbeat(&mut self, worker: Index, owned: &[Index], own: bool) -> Result<(), String> {
        let Some(info) = pick(&self.workers, worker).cloned() else { return Ok(()) };
        self.began |= info.lease < FAR;
        let owned = owned.iter().filter_map(|key| pick(&self.keys, *key));
        let mut owned: Vec<_> = owned.copied().collect();
        if own {
            let claims = self.claims.iter().filter(|claim| claim.worker == info.id);
            let claims: BTreeSet<_> = claims.map(|claim| claim.claim_id).collect();
            owned.extend(self.keys.iter().filter(|key| claims.contains(&key.claim_id)));
        }
        owned.sort_unstable();
        owned.dedup();
        let begun = Instant::now();
        let told = both!(self, "heartbeat", |on| on.heartbeat(info.id, &owned)).map(drop);
        self.leased(&info, begun);
        told
    }

    async fn claim(&mut self, request: &ClaimRequest) -> Result<(), String> {
        let claimed = both!(self, "claim", |on| on.claim(request))?;
        if let Ok(claimed) = claimed {
            self.keys.extend(claimed.leases.iter().map(|lease| lease.key));
        }
        Ok(())
    }

    async fn change(&mut self, target: Selector, meddling: Meddling) -> Result<(), String> {
        let change = match meddling {
            Meddling::Cancel => Change::Cancel { reason: Some("not wanted".to_owned()) },
            Meddling::Retry => Change::Retry,
            Meddling::RetryUnlessCompleted => Change::RetryUnlessCompleted,
            Meddling::Reschedule(span) => Change::Reschedule { start: Start::In(self.span(span)) },
            Meddling::Delete => Change::Delete,
        };
        // What is retried may take its window, and its time, once more.
        self.began |= self.short;
        if let Selector::Filter(filter) = &target {
            self.name_targets(filter, &change).await?;
        }
        let request = ChangeRequest::new(target, change);
        both!(self, "change", |on| on.change(&request)).map(drop)
    }

    /// A history names each job that an operator changes.
    async fn name_targets(&self, filter: &JobFilter, change: &Change) -> Result<(), String> {
        let query = JobQuery::from(filter.clone()).limit(ALL);
        let jobs = self.recorder.list(&query).await.map_err(|error| error.to_string())?;
        let ids = jobs.items.iter().map(|job| job.id).collect();
        let whats = changing(&ChangeRequest::new(Selector::Ids(ids), change.clone()));
        whats.into_iter().for_each(|what| self.recorder.journal().record(what));
        Ok(())
    }

    async fn list(&mut self, some: &Filter, most: usize, newest: bool) -> Result<(), String> {
        let mut query = JobQuery::from(filter(some)).limit(most);
        query.order = if newest { Order::NewestFirst } else { Order::OldestFirst };
        loop {
            let Ok(page) = both!(self, "list", |on| on.list(&query))? else { return Ok(()) };
            if page.next.is_none() {
                return Ok(());
            }
            query.after = page.next;
        }
    }

    fn job(&mut self, spec: &Spec) -> NewJob {
        // What two jobs are given differs, and is of one length.
        self.specs += 1;
        let args = payload(&format!("job {:05}", self.specs));
        let mut job = NewJob::new(kind(spec.kind), queue(spec.queue), args);
        if let Some(id) = spec.same_id.and_then(|index| pick(&self.jobs, index)) {
            job.id = *id;
            self.again.insert(job.id);
        } else {
            self.jobs.push(job.id);
        }
        job.priority = Priority(spec.priority);
        job.max_attempts = spec.max_attempts;
        job.start = match spec.start {
            Span::Zero => Start::Now,
            span => Start::In(self.span(span)),
        };
        job.timeout = spec.timeout.map(|span| self.span(span));
        job.unique = spec.unique.map(|rule| self.unique(rule));
        let has = |bit: u8| spec.marks & (1 << bit) != 0;
        job.tags = (0..2).filter(|n| has(*n)).map(tag).collect();
        if has(2) {
            job.meta.insert("fact".to_owned(), "beside the args".to_owned());
        }
        job.blobs = (0..2).filter(|n| has(n + 3)).map(blob).collect();
        job
    }

    fn unique(&mut self, rule: Rule) -> Unique {
        Unique {
            key: key(rule.key),
            until: match rule.until {
                0 => UniqueUntil::Started,
                1 => UniqueUntil::Finished,
                2 => UniqueUntil::For(self.span(Span::Soon)),
                _ => UniqueUntil::For(FAR),
            },
            on_conflict: match rule.on_conflict {
                0 => OnConflict::Keep,
                1 => OnConflict::Replace,
                _ => OnConflict::Reject,
            },
        }
    }

    fn key(&self, index: Index, twist: Twist) -> Option<LeaseKey> {
        let mut key = pick(&self.keys, index).copied()?;
        match twist {
            Twist::None => {}
            Twist::Earlier => key.epoch = Epoch(key.epoch.0.saturating_sub(1)),
            Twist::Later => key.epoch = key.epoch.next(),
            Twist::Foreign => key.claim_id = ClaimId::new(),
        }
        Some(key)
    }

    fn settlement(&mut self, (index, twist, outcome, noted): &Settle) -> Option<Settlement> {
        let key = self.key(*index, *twist)?;
        let failure = Failure { kind: FailureKind::Error, message: "it failed".to_owned() };
        let mut follow_ups = Vec::new();
        let outcome = match outcome {
            Outcome::Completed(specs) => {
                follow_ups = specs.iter().map(|spec| self.job(spec)).collect();
                let result = payload(&format!("of {} in epoch {:05}", key.job, key.epoch.0));
                AttemptOutcome::Completed { result: Some(result), blobs: Vec::new() }
            }
            Outcome::Retry(span) => AttemptOutcome::Retry { delay: self.span(*span), failure },
            Outcome::Discarded => AttemptOutcome::Discarded { failure },
            Outcome::Cancelled => {
                let failure = Failure { kind: FailureKind::Cancelled, ..failure };
                AttemptOutcome::Cancelled { failure }
            }
            Outcome::Snoozed(span) => AttemptOutcome::Snoozed { delay: self.span(*span) },
            Outcome::Released => AttemptOutcome::Released,
            Outcome::RetryWithFollowUp(spec) => {
                follow_ups.push(self.job(spec));
                AttemptOutcome::Retry { delay: Duration::ZERO, failure }
            }
        };
        let mut settlement = Settlement::new(key, outcome);
        settlement.follow_ups = follow_ups;
        if *noted {
            settlement.notes = vec![note("a last line")];
        }
        Some(settlement)
    }

    /// Every job, after every operation: a difference is found where it arises.
    async fn compare_jobs(&mut self, op: &Op) -> Result<(), String> {
        let jobs = both!(self, "all jobs", |on| all_jobs(on))?.unwrap_or_default();
        let stored = jobs.iter().map(|job: &JobRecord| (job.id, job.crashes)).collect();
        let before = std::mem::replace(&mut self.stored, stored);
        for job in before.keys().filter(|job| removes(op) && !self.stored.contains_key(job)) {
            self.recorder.journal().record(What::Removed { job: *job });
        }
        // Maintenance tells what it rescues.
        let rescued = |(job, crashes): &(&JobId, &u32)| {
            **crashes > before.get(job).copied().unwrap_or_default()
        };
        if !matches!(op, Op::Maintain) {
            let count = self.stored.iter().filter(rescued).count() as u64;
            *self.seen.entry("rescued for a key").or_default() += count;
        }
        Ok(())
    }

    async fn compare_all(&mut self) -> Result<(), String> {
        let query = StatsQuery::default();
        both!(self, "figures", |on| on.stats(&query)).map(drop)?;
        both!(self, "workers", |on| workers(on, &self.left)).map(drop)?;
        both!(self, "settings", |on| on.queue_settings(&[queue(0), queue(1)])).map(drop)?;
        both!(self, "feed", |on| feed(on)).map(drop)?;
        for job in self.jobs.clone() {
            both!(self, "history", |on| history(on, job, ALL)).map(drop)?;
        }
        Ok(())
    }
}
