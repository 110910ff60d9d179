//! What only Windlass is asked, on a server of one kind.

use crate::contestants::WINDLASS;
use crate::heavy::count;
use crate::place::Place;
use crate::report::Row;
use crate::runner::Runner;
use crate::{Result, postgres, redis};

const SYSTEM: (&str, &str) = (WINDLASS, "default");

pub async fn run(runner: &mut Runner, quick: bool) -> Result<()> {
    if !runner.contestants.iter().any(|contestant| contestant.name == WINDLASS) {
        return Ok(());
    }
    match &runner.place {
        Place::Sqlite => Ok(()),
        Place::Postgres(_) => {
            table_sizes(runner).await?;
            pinned(runner, quick).await
        }
        Place::Redis(_) => memory(runner).await,
    }
}

async fn pinned(runner: &mut Runner, quick: bool) -> Result<()> {
    const NAME: &str = "pinned xmin";
    if !runner.wants(NAME) {
        return Ok(());
    }
    eprintln!("postgres: {NAME}");
    let mut runs = Vec::new();
    for _ in 0..runner.sizes.rounds {
        let database = runner.place.create().await?;
        runs.push(postgres::pinned(&database.url, runner.sizes.pinned).await?);
        runner.place.remove(database).await?;
    }
    for (i, (part, unit)) in postgres::PINNED.iter().enumerate() {
        let column = runs.iter().map(|run| run[i]).collect();
        let config = (WINDLASS, "calls of the backend by 500");
        let row = Row::new("postgres", &format!("{NAME}{part}"), config, unit, column);
        runner.report.add(row);
    }
    if quick { Ok(()) } else { postgres::check_pinned(&runs) }
}

async fn table_sizes(runner: &mut Runner) -> Result<()> {
    if !runner.wants("table sizes") {
        return Ok(());
    }
    let kept = runner.sizes.kept;
    eprintln!("postgres: table sizes");
    let database = runner.place.create().await?;
    for (relation, bytes) in postgres::table_sizes(&database.url, kept).await? {
        let name = format!("table sizes after {} jobs: {relation}", count(kept));
        let each = vec![bytes / kept as f64];
        runner.report.add(Row::new("postgres", &name, SYSTEM, "bytes/job", each));
    }
    runner.place.remove(database).await
}

async fn memory(runner: &mut Runner) -> Result<()> {
    let Place::Redis(server) = &runner.place else { return Ok(()) };
    if !runner.wants("memory") {
        return Ok(());
    }
    eprintln!("redis: memory and pruning");
    let database = runner.place.create().await?;
    let kept = runner.sizes.kept;
    for (name, value, unit) in redis::memory_and_pruning(server, &database.url, kept).await? {
        let name = format!("{name}, of {} jobs", count(kept));
        runner.report.add(Row::new("redis", &name, SYSTEM, unit, vec![value]));
    }
    runner.place.remove(database).await
}
