//! Inserting jobs: what is decided about each, then a few set statements for all.

use std::collections::{HashMap, HashSet};

use windlass_core::machine;
use windlass_core::{
    Cause, Error, Inserted, JobId, NewJob, OnConflict, Result, Start, State, UniqueKey,
};

use crate::batch::{Rows, ids, size, texts};
use crate::ops::apply::{stored_until, trim};
use crate::ops::blobs::{self, References};
use crate::ops::shapes::Shapes;
use crate::ops::stored::Stored;
use crate::ops::unique::{self, Holder};
use crate::script::{Statement, statement};
use crate::txn::{Tally, Tick, Txn};
use windlass_core::kit::feed::{self, Fact};
use windlass_core::kit::trail;
use windlass_core::kit::{micros, timestamp, without_repeats};

/// Inserts the jobs of one call: all, or none and an error.
pub(crate) async fn insert(txn: &mut Txn<'_>, jobs: &[NewJob]) -> Result<Vec<Inserted>> {
    let intake = Intake::look(txn, &[jobs]).await?;
    take_in(txn, jobs, intake).await
}

/// What an insert looks at first.
pub(crate) fn look(calls: &[&[NewJob]]) -> Statement {
    let all = calls.iter().flat_map(|jobs| jobs.iter());
    statement(include_str!("../sql/insert_look.sql")).bind(ids(all.map(|job| job.id.as_bytes())))
}

/// Fails unless the tick is as given and [`look`] would find nothing.
pub(crate) fn check_guess(calls: &[&[NewJob]], tick: &Tick) -> Statement {
    let all = calls.iter().flat_map(|jobs| jobs.iter());
    statement(include_str!("../sql/insert_guess.sql"))
        .bind(ids(all.map(|job| job.id.as_bytes())))
        .bind(tick.now)
        .bind(tick.seq)
        .bind(tick.turn)
        .bind(tick.config)
}

/// Inserts the follow-ups of a completion. A queue's maximum depth stands at the door: a success inside is never
/// turned into another run by it.
pub(crate) async fn follow_ups(txn: &mut Txn<'_>, jobs: &[NewJob]) -> Result<()> {
    let mut intake = Intake::look(txn, &[jobs]).await?;
    intake.room.clear();
    take_in(txn, jobs, intake).await.map(drop)
}

async fn take_in<'a>(
    txn: &mut Txn<'_>,
    jobs: &'a [NewJob],
    mut intake: Intake<'a>,
) -> Result<Vec<Inserted>> {
    let mut answers = Vec::with_capacity(jobs.len());
    for jobs in without_repeats(jobs) {
        intake.find_holders(txn, jobs).await?;
        for job in jobs {
            let answer = intake.decide(txn, job)?;
            if let Inserted::Replaced { existing } = answer {
                // The holder may be an earlier job of this very call.
                intake.write(txn).await?;
                replace(txn, existing, job, &mut intake).await?;
            }
            answers.push(answer);
        }
    }
    intake.check_depths()?;
    intake.write(txn).await?;
    Ok(answers)
}

/// Inserts the jobs of several calls without unique keys, in shared statements. Each call's answer is its own.
pub(crate) async fn insert_calls(
    txn: &mut Txn<'_>,
    calls: &[&[NewJob]],
) -> Result<Vec<Result<Vec<Inserted>>>> {
    let mut intake = Intake::look(txn, calls).await?;
    let mut answers = Vec::with_capacity(calls.len());
    for jobs in calls {
        let start = intake.new.len();
        let answer: Result<_> = jobs.iter().map(|job| intake.decide(txn, job)).collect();
        let answer = answer.and_then(|answer| intake.check_depths().map(|()| answer));
        if answer.is_err() {
            intake.forget(start);
        }
        intake.settle_depths();
        answers.push(answer);
    }
    intake.write(txn).await?;
    Ok(answers)
}

/// A queue with a maximum depth.
struct Room {
    depth: i64,
    /// Jobs that waited before the call.
    waiting: i64,
    /// What the call adds to them.
    growth: i64,
}

/// Jobs on their way in.
#[derive(Default)]
struct Intake<'a> {
    /// Ids that are stored, or stand in `new`.
    known: HashSet<JobId>,
    /// Queues with a maximum depth.
    room: HashMap<String, Room>,
    /// Holders of unique keys.
    holders: HashMap<String, Holder>,
    /// To be written.
    new: Vec<&'a NewJob>,
}

impl<'a> Intake<'a> {
    async fn look(txn: &mut Txn<'_>, calls: &[&'a [NewJob]]) -> Result<Self> {
        let mut intake = Self::default();
        let rows = txn.look(look(calls)).await?;
        for row in rows {
            if let Some(id) = txn.get::<Option<Vec<u8>>>(&row, 0)? {
                intake.known.insert(JobId::from_slice(&id)?);
            } else {
                let queue: String = txn.get(&row, 1)?;
                let waiting = txn.get::<i64>(&row, 3)? + txn.pending_depth(&queue);
                let room = Room { depth: txn.get(&row, 2)?, waiting, growth: 0 };
                intake.room.insert(queue, room);
            }
        }
        Ok(intake)
    }

    /// Looks who holds the keys that new jobs want. No id stands twice among the jobs.
    async fn find_holders(&mut self, txn: &mut Txn<'_>, jobs: &[NewJob]) -> Result<()> {
        let new = jobs.iter().filter(|job| !self.known.contains(&job.id));
        let keys: Vec<&str> =
            new.filter_map(|job| job.unique.as_ref()).map(|unique| unique.key.as_str()).collect();
        if keys.is_empty() {
            return Ok(());
        }
        // Who holds a key is read of rows that are written.
        self.write(txn).await?;
        self.room.iter_mut().for_each(|(queue, room)| room.waiting -= txn.pending_depth(queue));
        self.holders = unique::holders(txn, texts(keys)).await?;
        // Those that were put back wait by now.
        self.room.iter_mut().for_each(|(queue, room)| room.waiting += txn.pending_depth(queue));
        Ok(())
    }

    /// Decides what becomes of a job, and takes it in if it is new.
    fn decide(&mut self, txn: &Txn<'_>, job: &'a NewJob) -> Result<Inserted> {
        if self.known.contains(&job.id) {
            return Ok(Inserted::Duplicate { existing: job.id });
        }
        let held = job.unique.as_ref().and_then(|u| Some((u, *self.holders.get(u.key.as_str())?)));
        if let Some((rule, Holder { job: existing, waits })) = held {
            return Ok(match rule.on_conflict {
                OnConflict::Replace if waits => Inserted::Replaced { existing },
                OnConflict::Reject => Inserted::Rejected { existing },
                _ => Inserted::Duplicate { existing },
            });
        }
        check_start(txn, job.start)?;
        self.grow(job.queue.as_str(), 1);
        self.known.insert(job.id);
        if let Some(rule) = &job.unique
            && stored_until(rule.until, txn.now).1.is_none_or(|until| until > txn.now)
        {
            let holder = Holder { job: job.id, waits: true };
            self.holders.insert(rule.key.as_str().to_owned(), holder);
        }
        self.new.push(job);
        Ok(Inserted::New(job.id))
    }

    fn grow(&mut self, queue: &str, jobs: i64) {
        if let Some(room) = self.room.get_mut(queue) {
            room.growth += jobs;
        }
    }

    /// Refuses a call that makes a queue deeper than it was and than it may be.
    fn check_depths(&self) -> Result<()> {
        let is_full = |room: &Room| room.growth > 0 && room.waiting + room.growth > room.depth;
        match self.room.iter().find(|(_, room)| is_full(room)) {
            Some((queue, room)) => {
                let depth = u64::try_from(room.depth).unwrap_or(0);
                Err(Error::QueueFull { queue: queue.clone(), depth })
            }
            None => Ok(()),
        }
    }

    /// What a call has brought waits when the next one comes.
    fn settle_depths(&mut self) {
        for room in self.room.values_mut() {
            room.waiting += std::mem::take(&mut room.growth);
        }
    }

    /// Drops what was taken in from `start` on.
    fn forget(&mut self, start: usize) {
        for job in self.new.drain(start..) {
            self.known.remove(&job.id);
            if let Some(room) = self.room.get_mut(job.queue.as_str()) {
                room.growth -= 1;
            }
        }
    }

    /// Writes what was taken in.
    async fn write(&mut self, txn: &mut Txn<'_>) -> Result<()> {
        if self.new.is_empty() {
            return Ok(());
        }
        let jobs = std::mem::take(&mut self.new);
        let seq = txn.next_seq();
        let mut shapes = Shapes::default();
        let (mut rows, mut keys, mut blobs) = (Rows::new(), Rows::new(), References::new());
        let (mut facts, mut tally) = (Vec::with_capacity(jobs.len()), Tally::default());
        for job in &jobs {
            let to = match shapes.take(txn, job) {
                true => State::Available,
                false => row(txn, &mut rows, job.id, job),
            };
            if let Some(rule) = &job.unique {
                let (mode, until) = stored_until(rule.until, txn.now);
                keys.row().text(rule.key.as_str()).id(job.id.as_bytes()).int(mode).maybe_int(until);
            }
            blobs.add(job.id, &job.blobs);
            tally.count(job.queue.as_str(), job.kind.as_str(), to, 1);
            facts.push(Fact { to, ..fact(job) });
        }
        txn.count_all(tally);
        shapes.write(txn, seq);
        if !rows.is_empty() {
            let query = rows.query_with_bytes(include_str!("../sql/insert.sql"));
            txn.write(query.bind(txn.now).bind(format!("[{seq},{},-1,", txn.now)));
        }
        if !keys.is_empty() {
            txn.write(keys.query(include_str!("../sql/unique_hold.sql")));
        }
        blobs::refer(txn, blobs);
        txn.emit(seq, feed::changes(Cause::Inserted, facts));
        Ok(())
    }
}

/// Refuses a start too far ahead. Delays were checked before; how far off a time is shows only now.
pub(crate) fn check_start(txn: &Txn<'_>, start: Start) -> Result<()> {
    txn.limits.check_delay("delay in seconds", start.delay(timestamp(txn.now)))
}

fn fact(job: &NewJob) -> Fact<'_> {
    Fact {
        job: job.id,
        kind: job.kind.as_str(),
        queue: job.queue.as_str(),
        from: None,
        to: State::Available,
        attempt: 0,
        worker: None,
        error: None,
    }
}

/// Adds the job's columns under an id; answers the state it starts in.
fn row(txn: &mut Txn<'_>, rows: &mut Rows, id: JobId, job: &NewJob) -> State {
    let delay = job.start.delay(timestamp(txn.now));
    let state = machine::inserted(delay);
    let rank = (state == State::Available).then(|| txn.rank(job.priority));
    if rank.is_some() {
        txn.wake(job.queue.as_str());
    }
    let unique = job.unique.as_ref().map(|rule| (&rule.key, stored_until(rule.until, txn.now)));
    let meta = (!job.meta.is_empty()).then(|| serde_json::to_string(&job.meta).ok()).flatten();
    let tags = (!job.tags.is_empty()).then(|| serde_json::to_string(&job.tags).ok()).flatten();
    rows.row()
        .id(id.as_bytes())
        .int(state.code())
        .text(job.queue.as_str())
        .text(job.kind.as_str())
        .int(job.priority.0)
        .maybe_int(rank)
        .int(txn.now.saturating_add(micros(delay)))
        .int(job.max_attempts)
        .maybe_int(job.timeout.map(micros))
        .maybe_text(unique.map(|(key, _)| UniqueKey::as_str(key)))
        .maybe_int(unique.map(|(_, (mode, _))| mode))
        .maybe_int(unique.and_then(|(_, (_, until))| until))
        .maybe_text(meta.as_deref())
        .maybe_text(tags.as_deref())
        .int(job.args.encoding.code())
        .bytes(&job.args.bytes);
    state
}

/// Gives the contents of a new job to the waiting holder of its unique key.
async fn replace(
    txn: &mut Txn<'_>,
    holder: JobId,
    job: &NewJob,
    intake: &mut Intake<'_>,
) -> Result<()> {
    let list = ids([holder.as_bytes()]);
    let found =
        txn.fetch(sqlx::query(include_str!("../sql/stored.sql")).bind(list.clone())).await?;
    let Some(found) = found.first() else {
        return Err(Error::NotFound { what: format!("job {holder}").into() });
    };
    let before = Stored::read(found)?;
    check_start(txn, job.start)?;
    if before.queue != job.queue.as_str() {
        intake.grow(job.queue.as_str(), 1);
        intake.grow(&before.queue, -1);
    }
    if before.changes >= size(txn.limits.state_events_per_job) {
        trim(txn, &[before.guard()], 1).await?;
    }
    let seq = txn.next_seq();
    let mut rows = Rows::new();
    let to = row(txn, &mut rows, holder, job);
    let (from, attempt) = (before.facts.state, before.facts.attempt);
    let change = trail::entry(seq, txn.now, (Some(from), to), attempt, Cause::Replaced, None);
    let query = rows.query_with_bytes(include_str!("../sql/insert_replace.sql"));
    let query = query.bind(txn.now).bind(change);
    txn.write(query.bind(i64::from(from.code())).bind(before.epoch).writes(1));
    blobs::release(txn, &[holder]);
    let mut blobs = References::new();
    blobs.add(holder, &job.blobs);
    blobs::refer(txn, blobs);
    txn.count(&before.queue, &before.kind, from, -1);
    txn.count(job.queue.as_str(), job.kind.as_str(), to, 1);
    let fact = Fact { job: holder, from: Some(from), to, attempt, ..fact(job) };
    txn.emit(seq, feed::changes(Cause::Replaced, vec![fact]));
    Ok(())
}
