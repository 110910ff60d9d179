//! What workers cost that have nothing to do.

use windlass_bench_contestant::{Run, Workload};

use crate::Result;
use crate::contestants::{Contestant, RAW};
use crate::process::measured;
use crate::report::Row;
use crate::runner::Runner;
use crate::usage::Usage;

const NAME: &str = "idle cost of 100 workers";
/// Connections of their own, as if they were processes, and workers on each.
const CLIENTS: usize = 10;
const WORKERS: usize = 10;
const CONCURRENCY: usize = 8;

/// One run each. The raw loops have no workers that would be worth the name.
pub async fn run(runner: &mut Runner) -> Result<()> {
    if !runner.wants(NAME) {
        return Ok(());
    }
    eprintln!("{}: {NAME}", runner.backend);
    let contestants = std::mem::take(&mut runner.contestants);
    for contestant in contestants.iter().filter(|c| !c.name.starts_with(RAW)) {
        let Some((config, _)) = contestant.description.configs.first() else { continue };
        let seconds = runner.sizes.idle[usize::from(contestant.is_peer())];
        let system = (contestant.name.as_str(), config.as_str());
        let usage = match one(runner, contestant, config, seconds).await {
            Ok(usage) => usage,
            Err(error) => {
                runner.fail(NAME, system, error);
                continue;
            }
        };
        let mut figures = vec![(
            "processor time of the workers",
            "% of a core",
            usage.client_cpu / seconds * 100.0,
        )];
        if runner.backend != "sqlite" {
            figures.push((
                "processor time of the server",
                "% of a core",
                usage.server_cpu / seconds * 100.0,
            ));
            figures.push(("queries", "per minute", usage.queries / seconds * 60.0));
        }
        for (part, unit, value) in figures {
            let name = format!("{NAME}, {part}");
            runner.report.add(Row::new(&runner.backend, &name, system, unit, vec![value]));
        }
        runner.save()?;
    }
    runner.contestants = contestants;
    Ok(())
}

async fn one(
    runner: &Runner,
    contestant: &Contestant,
    config: &str,
    seconds: f64,
) -> Result<Usage> {
    let database = runner.place.create().await?;
    let base = Run::new(&database.url, config, Workload::Idle);
    let run = Run { seconds, clients: CLIENTS, workers: WORKERS, concurrency: CONCURRENCY, ..base };
    let ran = measured(contestant, &run, &runner.place, &database, async { Ok(()) }).await;
    runner.place.remove(database).await?;
    Ok(ran?.usage)
}
