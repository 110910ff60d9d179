//! Reads jobs as their records show them.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use sqlx::Row as _;
use sqlx::postgres::{PgRow, Postgres};
use uuid::Uuid;
use windlass_core::kit::{bad_json, damaged, duration, timestamp};
use windlass_core::{
    ClaimId, Encoding, Epoch, Error, JobId, JobRecord, Kind, Payload, Priority, QueueName, Result,
    State, Tag, UniqueKey, WorkerId,
};

use crate::error::map;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Reads a row whose columns are
/// `id, state, queue, kind, priority, due_at, epoch, attempt, max_attempts, snoozes, crashes, worker, claim_id, started_at,
/// finished_at, cancelling, timeout, created_at, unique_key, meta, tags, progress, errors, encoding, args,
/// result_encoding, result`.
///
/// # Errors
/// [`Error::Decode`], naming job and column, for what can't be read.
pub(crate) fn record(during: &'static str, row: &PgRow) -> Result<JobRecord> {
    let id: Uuid = row.try_get(0).map_err(map(during))?;
    let row = Reader { during, row, id: JobId::from_uuid(id) };
    let mut job = JobRecord::new(
        row.id,
        row.parsed("kind", 3, Kind::new)?,
        row.parsed("queue", 2, QueueName::new)?,
        row.payload("args", row.get(23)?, row.get(24)?)?,
        timestamp(row.get(17)?),
    );
    let state = State::from_code(i64::from(row.get::<i16>(1)?));
    job.state = state.ok_or_else(|| row.unreadable("state", "it is none that is known"))?;
    job.priority = Priority(row.get(4)?);
    job.due_at = timestamp(row.get(5)?);
    job.epoch = Epoch(u32::try_from(row.get::<i64>(6)?).unwrap_or(u32::MAX));
    (job.attempt, job.max_attempts) = (row.count(7)?, row.count(8)?);
    (job.snoozes, job.crashes) = (row.count(9)?, row.count(10)?);
    job.worker = row.get::<Option<Uuid>>(11)?.map(WorkerId::from_uuid);
    job.claim_id = row.get::<Option<Uuid>>(12)?.map(ClaimId::from_uuid);
    job.started_at = row.get::<Option<i64>>(13)?.map(timestamp);
    job.finished_at = row.get::<Option<i64>>(14)?.map(timestamp);
    job.cancel_requested = row.get(15)?;
    job.timeout = row.get::<Option<i64>>(16)?.map(duration);
    job.unique_key = row.maybe_parsed("unique_key", 18, UniqueKey::new)?;
    job.meta = row.json("meta", 19)?.unwrap_or_else(BTreeMap::new);
    job.tags = row.tags(20)?;
    job.progress = row.json("progress", 21)?;
    job.errors = row.json("errors", 22)?.unwrap_or_default();
    if let (Some(encoding), Some(bytes)) = (row.get(25)?, row.get(26)?) {
        job.result = Some(row.payload("result", encoding, bytes)?);
    }
    Ok(job)
}

/// A row of a job, whose errors tell which job it is.
struct Reader<'r> {
    during: &'static str,
    row: &'r PgRow,
    id: JobId,
}

impl<'r> Reader<'r> {
    fn get<T: sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres>>(
        &self,
        column: usize,
    ) -> Result<T> {
        self.row.try_get(column).map_err(map(self.during))
    }

    fn count(&self, column: usize) -> Result<u32> {
        Ok(u32::try_from(self.get::<i32>(column)?).unwrap_or(0))
    }

    fn unreadable(&self, column: &'static str, source: impl Into<BoxError>) -> Error {
        damaged(self.id, column, source)
    }

    fn parsed<T>(
        &self,
        column: &'static str,
        place: usize,
        parse: impl Fn(&'r str) -> Result<T>,
    ) -> Result<T> {
        parse(self.get(place)?).map_err(|error| self.unreadable(column, error))
    }

    fn maybe_parsed<T>(
        &self,
        column: &'static str,
        place: usize,
        parse: impl Fn(&'r str) -> Result<T>,
    ) -> Result<Option<T>> {
        let text: Option<&str> = self.get(place)?;
        text.map(parse).transpose().map_err(|error| self.unreadable(column, error))
    }

    fn tags(&self, place: usize) -> Result<Vec<Tag>> {
        // An array can hold NULL, or have another shape.
        let names = self.row.try_get::<Option<Vec<String>>, _>(place);
        let names = names.map_err(|error| self.unreadable("tags", error))?;
        let tags = names.unwrap_or_default().into_iter().map(Tag::new).collect::<Result<_>>();
        tags.map_err(|error| self.unreadable("tags", error))
    }

    /// Reads a JSON column; NULL is none.
    fn json<T: DeserializeOwned>(&self, column: &'static str, place: usize) -> Result<Option<T>> {
        let text: Option<&str> = self.get(place)?;
        let parsed = text.map(serde_json::from_str).transpose();
        parsed.map_err(|error| self.unreadable(column, bad_json(&error)))
    }

    fn payload(&self, column: &'static str, encoding: i16, bytes: &[u8]) -> Result<Payload> {
        let encoding = Encoding::from_code(i64::from(encoding));
        let encoding =
            encoding.ok_or_else(|| self.unreadable(column, "its encoding is unknown"))?;
        Ok(Payload { encoding, bytes: bytes.to_vec().into() })
    }
}
