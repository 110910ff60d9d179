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

/// A system in the configuration in which it comes, and what it has used in each round.
struct Idle<'a> {
    contestant: &'a Contestant,
    config: &'a str,
    usages: Vec<Usage>,
    failed: bool,
}

/// The raw loops have no workers that would be worth the name. Who has failed is not tried again.
pub async fn run(runner: &mut Runner) -> Result<()> {
    if !runner.wants(NAME) {
        return Ok(());
    }
    eprintln!("{}: {NAME}", runner.backend);
    let contestants = std::mem::take(&mut runner.contestants);
    let mut runs: Vec<_> = contestants
        .iter()
        .filter(|c| !c.name.starts_with(RAW))
        .filter_map(|contestant| {
            let (config, _) = contestant.description.configs.first()?;
            Some(Idle { contestant, config, usages: Vec::new(), failed: false })
        })
        .collect();
    for _ in 0..runner.sizes.rounds {
        for run in runs.iter_mut().filter(|run| !run.failed) {
            match one(runner, run.contestant, run.config).await {
                Ok(usage) => run.usages.push(usage),
                Err(error) => {
                    runner.fail(NAME, (&run.contestant.name, run.config), error);
                    run.failed = true;
                }
            }
        }
    }
    for Idle { contestant, config, usages, .. } in runs {
        rows(runner, (&contestant.name, config), seconds(runner, contestant), &usages);
    }
    runner.contestants = contestants;
    runner.save()
}

fn seconds(runner: &Runner, contestant: &Contestant) -> f64 {
    runner.sizes.idle[usize::from(contestant.is_peer())]
}

fn rows(runner: &mut Runner, system: (&str, &str), seconds: f64, usages: &[Usage]) {
    let share = |cpu: fn(&Usage) -> f64| {
        usages.iter().map(|usage| cpu(usage) / seconds * 100.0).collect::<Vec<_>>()
    };
    let core = "% of a core";
    let mut figures = vec![("processor time of the workers", core, share(|u| u.client_cpu))];
    if runner.backend != "sqlite" {
        figures.push(("processor time of the server", core, share(|u| u.server_cpu)));
        let queries = usages.iter().map(|usage| usage.queries / seconds * 60.0).collect();
        figures.push(("queries", "per minute", queries));
    }
    for (part, unit, values) in figures {
        let name = format!("{NAME}, {part}");
        runner.report.add(Row::new(&runner.backend, &name, system, unit, values));
    }
}

async fn one(runner: &Runner, contestant: &Contestant, config: &str) -> Result<Usage> {
    let database = runner.place.create().await?;
    let base = Run::new(&database.url, config, Workload::Idle);
    let run = Run {
        seconds: seconds(runner, contestant),
        clients: CLIENTS,
        workers: WORKERS,
        concurrency: CONCURRENCY,
        ..base
    };
    let ran = measured(contestant, &run, &runner.place, &database, async { Ok(()) }).await;
    runner.place.remove(database).await?;
    Ok(ran?.usage)
}
