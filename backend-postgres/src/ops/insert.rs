//! Inserting jobs of any sort: what is decided about each, then a few set statements for all. Jobs that need no deciding take the
//! short way of [`plain`](super::plain).

use std::collections::{HashMap, HashSet};

use uuid::Uuid;
use windlass_core::kit::feed::{self, Fact};
use windlass_core::kit::{micros, timestamp, trail, without_repeats};
use windlass_core::machine;
use windlass_core::{Cause, Error, Inserted, JobId, NewJob, OnConflict, Result, Start, State};

use super::apply::stored_until;
use super::blobs::References;
use super::plain::STATEMENT_BYTES;
use super::stored::{Locked, lock_holder};
use super::unique::{self, Holder, Wanted};
use crate::sql::query;
use crate::txn::{Txn, uuids};

/// Inserts the jobs of one call: all, or none and an error.
pub(crate) async fn insert(txn: &mut Txn<'_>, jobs: &[NewJob]) -> Result<Vec<Inserted>> {
    let mut intake = Intake { known: known(txn, jobs).await?, ..Intake::default() };
    intake.room = room(txn, jobs).await?;
    take_in(txn, jobs, intake).await
}

/// Inserts the follow-ups of completions. A queue's maximum depth stands at the door: a success inside is never turned
/// into another run by it.
pub(crate) async fn follow_ups(txn: &mut Txn<'_>, jobs: &[NewJob]) -> Result<()> {
    let intake = Intake { known: known(txn, jobs).await?, ..Intake::default() };
    take_in(txn, jobs, intake).await.map(drop)
}

async fn take_in<'a>(
    txn: &mut Txn<'_>,
    jobs: &'a [NewJob],
    mut intake: Intake<'a>,
) -> Result<Vec<Inserted>> {
    let mut answers = Vec::with_capacity(jobs.len());
    // The keys of a run are taken in order, but a later run may want one that stands before them: two calls whose runs cross can wait for each other, and
    // one of them is ended. A call of its own is repeated then; in a host's transaction the error is the host's.
    for jobs in without_repeats(jobs) {
        intake.acquire(txn, jobs).await?;
        for job in jobs {
            let mut answer = intake.decide(txn, job)?;
            if let Inserted::Replaced { existing } = answer {
                // The holder may be an earlier job of this very call.
                intake.write(txn).await?;
                if !replace(txn, existing, job, &mut intake).await? {
                    answer = Inserted::Duplicate { existing };
                }
            }
            answers.push(answer);
        }
    }
    intake.check_depths()?;
    intake.write(txn).await?;
    Ok(answers)
}

/// The ids that are stored already.
async fn known(txn: &mut Txn<'_>, jobs: &[NewJob]) -> Result<HashSet<JobId>> {
    let statement = query(&txn.sql.insert_known).bind(uuids(jobs.iter().map(|job| &job.id)));
    let rows = txn.fetch(statement).await?;
    rows.iter().map(|row| txn.get::<Uuid>(row, 0).map(JobId::from_uuid)).collect()
}

/// The queues with a maximum depth. Others that insert into these wait for this transaction.
async fn room(txn: &mut Txn<'_>, jobs: &[NewJob]) -> Result<HashMap<String, Room>> {
    let names: HashSet<&str> = jobs.iter().map(|job| job.queue.as_str()).collect();
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let mut room = HashMap::new();
    let statement = query(&txn.sql.insert_lock_depths).bind(names);
    for row in txn.fetch(statement).await? {
        let depth = txn.get(&row, 1)?;
        room.insert(txn.get::<String>(&row, 0)?, Room { depth, waiting: 0, growth: 0 });
    }
    if !room.is_empty() {
        // After the lock, so that what others have inserted counts.
        let names: Vec<String> = room.keys().cloned().collect();
        let statement = query(&txn.sql.insert_depths).bind(names);
        for row in txn.fetch(statement).await? {
            if let Some(room) = room.get_mut(&txn.get::<String>(&row, 0)?) {
                room.waiting = txn.get(&row, 1)?;
            }
        }
    }
    Ok(room)
}

/// The keys that new jobs want, each for the first job that wants it. No id stands twice among the jobs.
fn wanted(jobs: &[NewJob], known: &HashSet<JobId>, now: i64) -> Vec<Wanted> {
    let mut seen = HashSet::new();
    let mut wanted = Vec::new();
    for job in jobs {
        let Some(rule) = job.unique.as_ref().filter(|_| !known.contains(&job.id)) else { continue };
        if seen.insert(rule.key.as_str()) {
            let (mode, until) = stored_until(rule.until, now);
            let key = rule.key.as_str().to_owned();
            wanted.push(Wanted { key, job: job.id, mode, until });
        }
    }
    wanted
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
    /// Takes the keys that new jobs want, and looks who holds the others. No id stands twice among the jobs.
    async fn acquire(&mut self, txn: &mut Txn<'_>, jobs: &[NewJob]) -> Result<()> {
        // Who holds a key is read of rows that are written.
        self.write(txn).await?;
        let wanted = wanted(jobs, &self.known, txn.now);
        self.room.iter_mut().for_each(|(queue, room)| room.waiting -= txn.pending_depth(queue));
        self.holders = unique::acquire(txn, &wanted).await?;
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

    /// Writes what was taken in.
    async fn write(&mut self, txn: &mut Txn<'_>) -> Result<()> {
        if self.new.is_empty() {
            return Ok(());
        }
        let jobs = std::mem::take(&mut self.new);
        let columns: Vec<Columns> = jobs.iter().map(|job| Columns::of(txn, job)).collect();
        let available = columns.iter().filter(|c| c.state == State::Available).count();
        let (seqs, turns) = txn.draw(1, available).await?;
        let seq = seqs.first().copied().unwrap_or_default();
        let mut turns = turns.into_iter();
        let turns: Vec<Option<i64>> =
            columns.iter().map(|c| turns.next_if_available(c.state)).collect();
        let (mut blobs, mut facts) = (References::default(), Vec::with_capacity(jobs.len()));
        for (job, columns) in jobs.iter().zip(&columns) {
            blobs.add(job.id, &job.blobs);
            txn.count(job.queue.as_str(), job.kind.as_str(), columns.state, 1);
            if columns.state == State::Available {
                txn.wake(job.queue.as_str());
            }
            facts.push(Fact { to: columns.state, ..fact(job) });
        }
        for part in parts(jobs.iter().copied().zip(columns).zip(turns)) {
            write_rows(txn, part, seq).await?;
        }
        blobs.refer(txn).await?;
        txn.emit(seq, feed::changes(Cause::Inserted, facts));
        Ok(())
    }
}

/// Hands a turn to available jobs only.
trait Turns {
    fn next_if_available(&mut self, state: State) -> Option<i64>;
}

impl Turns for std::vec::IntoIter<i64> {
    fn next_if_available(&mut self, state: State) -> Option<i64> {
        (state == State::Available).then(|| self.next()).flatten()
    }
}

/// What a job's columns are made of, beyond the job.
struct Columns {
    state: State,
    due_at: i64,
    unique: (Option<String>, Option<i16>, Option<i64>),
    meta: Option<String>,
    tags: Option<String>,
}

impl Columns {
    fn of(txn: &Txn<'_>, job: &NewJob) -> Self {
        let delay = job.start.delay(timestamp(txn.now));
        let unique = job.unique.as_ref().map(|rule| {
            let (mode, until) = stored_until(rule.until, txn.now);
            (Some(rule.key.as_str().to_owned()), Some(mode), until)
        });
        Self {
            state: machine::inserted(delay),
            due_at: txn.now.saturating_add(micros(delay)),
            unique: unique.unwrap_or_default(),
            meta: meta(job),
            tags: tags(job),
        }
    }
}

/// The metadata as JSON.
pub(super) fn meta(job: &NewJob) -> Option<String> {
    (!job.meta.is_empty()).then(|| serde_json::to_string(&job.meta).ok()).flatten()
}

/// The tags joined by commas, which no tag holds.
pub(super) fn tags(job: &NewJob) -> Option<String> {
    let tags: Vec<&str> = job.tags.iter().map(windlass_core::Tag::as_str).collect();
    (!tags.is_empty()).then(|| tags.join(","))
}

/// A number that fits: limits keep it far below.
pub(super) fn int(n: u32) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// A new job, what its columns are made of, and its turn.
type NewRow<'a> = (&'a NewJob, Columns, Option<i64>);

/// Splits rows into parts that one statement can carry.
fn parts<'a>(
    rows: impl Iterator<Item = ((&'a NewJob, Columns), Option<i64>)>,
) -> Vec<Vec<NewRow<'a>>> {
    let (mut parts, mut bytes) = (vec![Vec::new()], 0);
    for ((job, columns), turn) in rows {
        let size = job.args.bytes.len();
        if bytes + size > STATEMENT_BYTES && bytes > 0 {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(part) = parts.last_mut() {
            part.push((job, columns, turn));
        }
    }
    parts
}

/// Writes rows that one statement can carry.
async fn write_rows(txn: &mut Txn<'_>, rows: Vec<NewRow<'_>>, seq: i64) -> Result<()> {
    let jobs: Vec<&NewJob> = rows.iter().map(|(job, ..)| *job).collect();
    let turns: Vec<Option<i64>> = rows.iter().map(|(.., turn)| *turn).collect();
    let texts = |of: fn(&NewJob) -> &str| -> Vec<String> {
        jobs.iter().map(|job| of(job).to_owned()).collect()
    };
    let mut unique = (Vec::new(), Vec::new(), Vec::new());
    let (mut states, mut due, mut meta, mut tags) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (_, one, _) in rows {
        states.push(i16::from(one.state.code()));
        due.push(one.due_at);
        unique.0.push(one.unique.0);
        unique.1.push(one.unique.1);
        unique.2.push(one.unique.2);
        meta.push(one.meta);
        tags.push(one.tags);
    }
    let statement = query(&txn.sql.insert)
        .bind(uuids(jobs.iter().map(|job| &job.id)))
        .bind(states)
        .bind(texts(|job| job.queue.as_str()))
        .bind(texts(|job| job.kind.as_str()))
        .bind(jobs.iter().map(|job| job.priority.0).collect::<Vec<_>>())
        .bind(turns)
        .bind(due)
        .bind(jobs.iter().map(|job| int(job.max_attempts)).collect::<Vec<_>>())
        .bind(jobs.iter().map(|job| job.timeout.map(micros)).collect::<Vec<_>>())
        .bind(unique.0)
        .bind(unique.1)
        .bind(unique.2)
        .bind(meta)
        .bind(tags)
        .bind(jobs.iter().map(|job| i16::from(job.args.encoding.code())).collect::<Vec<_>>())
        .bind(jobs.iter().map(|job| job.args.bytes.to_vec()).collect::<Vec<_>>())
        .bind(txn.now)
        .bind(format!("[{seq},{},-1,", txn.now));
    txn.fetch(statement).await?;
    Ok(())
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

/// Gives the contents of a new job to the waiting holder of its unique key; not if it has started meanwhile.
async fn replace(
    txn: &mut Txn<'_>,
    holder: JobId,
    job: &NewJob,
    intake: &mut Intake<'_>,
) -> Result<bool> {
    let Some(key) = job.unique.as_ref().map(|unique| unique.key.as_str().to_owned()) else {
        return Ok(false);
    };
    let before = match lock_holder(txn, holder, &key).await? {
        Locked::Job(job) => *job,
        Locked::Damaged => return Ok(false),
        // It has ended meanwhile, and its key is free or somebody else's.
        Locked::Gone => return Err(txn.changed_meanwhile()),
    };
    if before.facts.state == State::Running {
        return match before.unique.as_ref().map(|unique| unique.mode) {
            // The start has freed the key.
            Some(unique::STARTED) => Err(txn.changed_meanwhile()),
            _ => Ok(false),
        };
    }
    check_start(txn, job.start)?;
    if before.queue != job.queue.as_str() {
        intake.grow(job.queue.as_str(), 1);
        intake.grow(&before.queue, -1);
    }
    let columns = Columns::of(txn, job);
    let (seqs, turns) = txn.draw(1, usize::from(columns.state == State::Available)).await?;
    let seq = seqs.first().copied().unwrap_or_default();
    let (from, to, attempt) = (before.facts.state, columns.state, before.facts.attempt);
    let change = trail::entry(seq, txn.now, (Some(from), to), attempt, Cause::Replaced, None);
    let statement = query(&txn.sql.insert_replace)
        .bind(*holder.as_uuid())
        .bind(i16::from(to.code()))
        .bind(job.queue.as_str().to_owned())
        .bind(job.kind.as_str().to_owned())
        .bind(job.priority.0)
        .bind(turns.first().copied())
        .bind(columns.due_at)
        .bind(int(job.max_attempts))
        .bind(job.timeout.map(micros))
        .bind(columns.meta)
        .bind(columns.tags)
        .bind(i16::from(job.args.encoding.code()))
        .bind(job.args.bytes.to_vec())
        .bind(change)
        .bind(i16::from(from.code()))
        .bind(before.epoch)
        .bind(key)
        .bind(int(u32::try_from(txn.limits.state_events_per_job.max(1)).unwrap_or(u32::MAX)))
        .bind(txn.now);
    let rows = txn.fetch(statement).await?;
    let changed: i64 = rows.first().map_or(Ok(0), |row| txn.get(row, 0))?;
    if changed == 0 {
        // Between the look and the lock it started, freed its key, and waits again without it.
        return Err(txn.changed_meanwhile());
    }
    if to == State::Available {
        txn.wake(job.queue.as_str());
    }
    let mut blobs = References::default();
    blobs.add(holder, &job.blobs);
    blobs.refer(txn).await?;
    txn.count(&before.queue, &before.kind, from, -1);
    txn.count(job.queue.as_str(), job.kind.as_str(), to, 1);
    let fact = Fact { job: holder, from: Some(from), to, attempt, ..fact(job) };
    txn.emit(seq, feed::changes(Cause::Replaced, vec![fact]));
    Ok(true)
}
