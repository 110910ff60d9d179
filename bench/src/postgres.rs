//! What is measured on Postgres alone.

use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection, Row};
use windlass::postgres::PostgresBackend;
use windlass::{Backend, Transactional};

use crate::Result;
use crate::calls::{BATCH, Drain, fill, job};

/// What is added to the workload's name for each figure of [`pinned`], and its unit.
pub const PINNED: &[(&str, &str)] = &[
    (", claim rate of the last tenth over the first", "ratio"),
    (", rate with settling of the last tenth over the first", "ratio"),
    (", claimed and settled", "jobs/s"),
    (", longest wait of a job committed late", "ms"),
];
/// Bytes from which a table or an index is worth showing.
const LEAST: f64 = 40_960.0;
/// How long a late job is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// What the claim rate at the end is of that at the start, at least.
const RATIO: f64 = 0.8;
/// How long a late job waits for a sweep, at most, in milliseconds.
const LONGEST: f64 = 1_000.0;
/// Jobs that are committed late, in the course of a drain.
const LATE: u64 = 8;

/// Drains jobs, with a pin while a snapshot from before them is held open elsewhere, so that vacuum can remove nothing. Now and then a transaction commits that
/// drew its turn before all of them. Answers how the rates of the last tenth compare to those of the first (claims; claims and
/// settlements), the rate of the whole, and the longest time that a late job waited, in milliseconds.
/// Without the pin there is neither the snapshot nor a late job, whose transaction would be one, too.
pub async fn pinned(url: &str, jobs: u64, pin: bool) -> Result<Vec<f64>> {
    let backend = PostgresBackend::connect(url).await?;
    let mut pinned = PgConnection::connect(url).await?;
    if pin {
        let snapshot = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1";
        sqlx::raw_sql(snapshot).execute(&mut pinned).await?;
    }
    let (mut late, hosts) = (Vec::new(), sqlx::PgPool::connect(url).await?);
    let expected = if pin { LATE } else { 0 };
    for _ in 0..expected {
        let (mut transaction, job) = (hosts.begin().await?, job()?);
        backend.insert_in(&mut transaction, std::slice::from_ref(&job)).await?;
        late.push((transaction, job.id));
    }
    fill(&backend, jobs).await?;
    let drain = Drain::new(backend.clone()).await?;
    let mut batches: Vec<(usize, Duration, Duration)> = Vec::new();
    let (mut waiting, mut longest, mut done) = (None, Duration::ZERO, 0);
    let begun = Instant::now();
    loop {
        // One at a time, and none in the last tenth, where the end of the backlog would find it.
        let next = jobs * (expected - late.len() as u64 + 1) / (LATE + 2);
        if waiting.is_none()
            && done as u64 >= next
            && let Some((transaction, id)) = late.pop()
        {
            transaction.commit().await?;
            waiting = Some((id, Instant::now()));
        }
        let (claimed, claim, settle) = drain.batch().await?;
        if let Some((id, since)) = waiting
            && claimed.contains(&id)
        {
            longest = longest.max(since.elapsed() - settle);
            waiting = None;
        }
        if claimed.is_empty() {
            match waiting {
                Some((_, since)) if since.elapsed() < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    continue;
                }
                _ => break,
            }
        }
        done += claimed.len();
        batches.push((claimed.len(), claim, settle));
    }
    let whole = done as f64 / begun.elapsed().as_secs_f64();
    if waiting.is_some() || done as u64 != jobs + expected - late.len() as u64 {
        return Err(format!("{done} of {jobs} jobs and {expected} late ones were claimed").into());
    }
    // What is left over at the end comes in small batches.
    batches.retain(|batch| batch.0 == BATCH as usize);
    let tenth = batches.len() / 10;
    let (first, last) = (&batches[..tenth], &batches[batches.len() - tenth..]);
    let ratio = |time: fn(&(usize, Duration, Duration)) -> Duration| {
        let rate = |part: &[(usize, Duration, Duration)]| {
            let jobs: usize = part.iter().map(|batch| batch.0).sum();
            jobs as f64 / part.iter().map(time).sum::<Duration>().as_secs_f64()
        };
        rate(last) / rate(first)
    };
    let (claims, both) = (ratio(|batch| batch.1), ratio(|batch| batch.1 + batch.2));
    backend.close().await?;
    let mut figures = vec![claims, both, whole];
    if pin {
        figures.push(longest.as_secs_f64() * 1e3);
    }
    Ok(figures)
}

/// Whether runs of [`pinned`] at full size show what is promised: by the run in the middle for the rate, by each for the time that a late job waited.
pub fn check_pinned(runs: &[Vec<f64>]) -> Result<()> {
    let mut ratios: Vec<f64> = runs.iter().map(|run| run[0]).collect();
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios.get(ratios.len() / 2).copied().unwrap_or_default();
    let longest = runs.iter().map(|run| run[3]).fold(0.0, f64::max);
    if ratio < RATIO || longest > LONGEST {
        let text = format!(
            "pinned xmin: the claim rate at the end is {ratio:.2} of that at the start (at least {RATIO} is promised), and a late job waited \
             {longest:.0} ms (at most {LONGEST})"
        );
        return Err(text.into());
    }
    Ok(())
}

/// Tables and indexes of more than a byte per job, and more than an empty one has, in bytes, after so many jobs were enqueued and completed.
pub async fn table_sizes(url: &str, jobs: u64) -> Result<Vec<(String, f64)>> {
    let backend = PostgresBackend::connect(url).await?;
    fill(&backend, jobs).await?;
    let drain = Drain::new(backend.clone()).await?;
    while !drain.batch().await?.0.is_empty() {}
    backend.close().await?;
    let mut conn = PgConnection::connect(url).await?;
    // A table's own size counts neither its indexes nor twice what the whole counts.
    let query = "SELECT relname::text, CASE relkind WHEN 'r' THEN pg_table_size(oid) ELSE pg_relation_size(oid) END, relkind = 'r',
            pg_total_relation_size(oid)
        FROM pg_class WHERE relnamespace = 'windlass'::regnamespace AND relkind IN ('r', 'i') ORDER BY 2 DESC";
    let mut sizes = vec![("all".to_owned(), 0.0)];
    for row in sqlx::query(query).fetch_all(&mut conn).await? {
        let (name, own, is_table) =
            (row.get::<String, _>(0), row.get::<i64, _>(1) as f64, row.get(2));
        if is_table {
            sizes[0].1 += row.get::<i64, _>(3) as f64;
        }
        if own >= f64::max(jobs as f64, LEAST) {
            sizes.push((name, own));
        }
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_promised_is_checked() {
        let run = |ratio, longest| vec![ratio, 1.0, 1.0, longest];
        check_pinned(&[run(0.5, 999.0), run(0.8, 1.0), run(0.9, 1.0)]).unwrap();
        check_pinned(&[run(0.5, 1.0), run(0.79, 1.0), run(0.9, 1.0)]).unwrap_err();
        check_pinned(&[run(0.9, 1.0), run(0.9, 1_001.0), run(0.9, 1.0)]).unwrap_err();
    }
}
