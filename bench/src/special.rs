//! What only Windlass is asked, on a server of one kind.

use crate::contestants::WINDLASS;
use crate::heavy::count;
use crate::place::Place;
use crate::report::Row;
use crate::runner::{DEFAULT, Runner};
use crate::{Result, postgres, redis};

const SYSTEM: (&str, &str) = (WINDLASS, DEFAULT);
const PINNED: &str = "pinned xmin";

pub async fn run(runner: &mut Runner, quick: bool) -> Result<()> {
    if !runner.contestants.iter().any(|contestant| contestant.name == WINDLASS) {
        return Ok(());
    }
    match &runner.place {
        Place::Sqlite => Ok(()),
        Place::Postgres(_) => {
            let weighed = table_sizes(runner).await;
            note(runner, "table sizes", weighed)?;
            let pinned = pinned(runner, quick).await;
            note(runner, PINNED, pinned)
        }
        Place::Redis(..) => {
            let weighed = memory(runner).await;
            note(runner, "memory", weighed)
        }
    }
}

fn note(runner: &mut Runner, name: &str, ran: Result<()>) -> Result<()> {
    if let Err(error) = ran {
        runner.fail(name, SYSTEM, error);
    }
    runner.save()
}

async fn pinned(runner: &mut Runner, quick: bool) -> Result<()> {
    if !runner.wants(PINNED) {
        return Ok(());
    }
    eprintln!("postgres: {PINNED}");
    let (mut runs, mut free) = (Vec::new(), Vec::new());
    for _ in 0..runner.sizes.rounds {
        for pin in [true, false] {
            let database = runner.place.create().await?;
            let figures = postgres::pinned(&database.url, runner.sizes.pinned, pin).await?;
            if pin { &mut runs } else { &mut free }.push(figures);
            runner.place.remove(database).await?;
        }
    }
    for (i, (part, unit)) in postgres::PINNED.iter().enumerate() {
        for (runs, config) in [(&runs, DEFAULT), (&free, "nothing pinned")] {
            let column: Vec<f64> = runs.iter().filter_map(|run| run.get(i)).copied().collect();
            if column.is_empty() {
                continue;
            }
            let name = format!("{PINNED}, calls of the backend by 500{part}");
            runner.report.add(Row::new("postgres", &name, (WINDLASS, config), unit, column));
        }
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
    let Place::Redis(server, _) = &runner.place else { return Ok(()) };
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
