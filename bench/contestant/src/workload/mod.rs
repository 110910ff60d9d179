//! The workloads, written once for all contestants.

mod drain;
mod enqueue;
mod latency;
mod steady;

use crate::{Contestant, Figures, Result, Run, Workload};

/// Jobs in a bulk.
const BULK: u64 = 1_000;

pub(crate) async fn run<C: Contestant>(run: &Run) -> Result<Figures> {
    let setup = run.setup();
    if run.workload == Workload::Idle {
        return steady::idle::<C>(&setup, run).await;
    }
    let system = C::open(&setup).await?;
    match run.workload {
        Workload::Fill => enqueue::fill(&system, run).await,
        Workload::Enqueue => enqueue::singles(&system, run).await,
        Workload::Bulk => enqueue::bulks(&system, run).await,
        Workload::Drain => drain::drain(&system, run).await,
        Workload::Latency => latency::one_by_one(&system, run).await,
        Workload::Load => latency::at_a_pace(&system, run).await,
        Workload::Steady => steady::steady(&system, run).await,
        Workload::Serve => latency::serve(&system, run).await,
        Workload::Pace => latency::pace(&system, run).await,
        Workload::Idle => Ok(Figures::default()),
    }
}

#[cfg(test)]
mod fake;

#[cfg(test)]
mod tests {
    use super::*;

    async fn done(
        test: &str,
        config: &str,
        workload: Workload,
        jobs: u64,
        seconds: f64,
    ) -> Figures {
        let url = format!("fake:{test}{config}");
        let base = Run::new(&url, config, workload);
        run::<fake::Fake>(&Run { jobs, seconds, ..base }).await.unwrap()
    }

    async fn drained(config: &str, seconds: f64) -> Figures {
        done("drain", config, Workload::Fill, 100, 1.0).await;
        done("drain", config, Workload::Drain, 100, seconds).await
    }

    fn faults(figures: &Figures) -> (u64, u64, u64, bool) {
        (figures.lost, figures.repeated, figures.unfinished, figures.hung)
    }

    #[tokio::test]
    async fn a_drain_tells_what_was_lost_repeated_or_hung() {
        let good = drained("good", 60.0).await;
        assert_eq!((faults(&good), good.jobs), ((0, 0, 0, false), 100));
        assert!(good.rate.unwrap() > 0.0);
        assert_eq!(faults(&drained("loses", 60.0).await), (1, 0, 0, false));
        assert_eq!(faults(&drained("repeats", 60.0).await), (0, 1, 0, false));
    }

    #[tokio::test]
    async fn a_fill_ends_when_the_time_is_up_and_tells_how_many_there_are() {
        let all = done("fill", "good", Workload::Fill, 100, 60.0).await;
        let some = done("fill some", "good", Workload::Fill, u64::MAX / 2, 0.05).await;
        assert_eq!(all.jobs, 100);
        let left = done("fill some", "good", Workload::Drain, some.jobs, 60.0).await;
        assert_eq!((faults(&left), left.jobs), ((0, 0, 0, false), some.jobs));
    }

    #[tokio::test]
    async fn a_drain_that_hangs_ends() {
        let hung = drained("hangs", 3.5).await;
        assert_eq!((faults(&hung), hung.jobs), ((0, 0, 50, true), 50));
        // The time is up too soon to tell; what hung before is still there.
        assert_eq!(faults(&drained("hangs", 0.5).await), (0, 0, 100, false));
    }

    #[tokio::test]
    async fn a_part_of_a_drain_leaves_the_others() {
        done("part", "good", Workload::Fill, 100, 1.0).await;
        let run_of = Run::new("fake:partgood", "good", Workload::Drain);
        let part =
            run::<fake::Fake>(&Run { jobs: 100, stop_at: Some(10), ..run_of }).await.unwrap();
        assert!(part.jobs >= 10);
        assert_eq!(faults(&part), (0, 0, 0, false));
    }

    #[tokio::test]
    async fn enqueues_are_counted_and_looked_for() {
        for (workload, bulk) in [(Workload::Enqueue, 0), (Workload::Bulk, 1_000)] {
            let name = workload.to_string();
            let good = done(&name, "good", workload, 500, 60.0).await;
            assert_eq!((good.lost, good.jobs), (0, 500.max(bulk)));
            assert!(done(&name, "forgets", workload, 500, 60.0).await.lost >= 250);
        }
    }

    #[tokio::test]
    async fn latencies_are_of_all_jobs_but_the_first() {
        let idle = done("idle", "good", Workload::Latency, 30, 60.0).await;
        assert_eq!((faults(&idle), idle.jobs), ((0, 0, 0, false), 50));
        assert!(idle.p50.unwrap() <= idle.p999.unwrap());
        let load = done("load", "good", Workload::Load, 0, 0.2).await;
        assert_eq!((faults(&load), load.jobs), ((0, 0, 0, false), 256 + 200));
        let late = done("idle", "hangs", Workload::Latency, 40, 60.0).await;
        assert_eq!((faults(&late), late.jobs), ((0, 0, 1, true), 50));
        assert!(late.p50.is_some());
        let late = done("load", "hangs", Workload::Load, 0, 0.2).await;
        assert_eq!((faults(&late), late.jobs), ((0, 0, 14 + 200, true), 50));
    }

    #[tokio::test]
    async fn a_server_runs_what_another_process_sends() {
        let (server, sender) = tokio::join!(
            done("pair", "good", Workload::Serve, 10, 60.0),
            done("pair", "good", Workload::Pace, 10, 60.0),
        );
        assert_eq!((faults(&server), server.jobs), ((0, 0, 0, false), sender.jobs));
    }

    #[tokio::test]
    async fn a_steady_state_has_a_rate_and_loses_nothing() {
        let steady = done("steady", "good", Workload::Steady, 0, 1.5).await;
        assert_eq!(faults(&steady), (0, 0, 0, false));
        assert!(steady.rate.is_some_and(|rate| rate > 0.0), "{steady:?}");
        assert_eq!(done("steady", "loses", Workload::Steady, 0, 1.5).await.lost, 1);
    }

    #[tokio::test]
    async fn a_steady_state_in_which_nothing_moves_hangs() {
        let hung = done("steady", "hangs", Workload::Steady, 0, 0.5).await;
        assert_eq!((hung.hung, hung.jobs, hung.rate), (true, 0, Some(0.0)));
        assert!(hung.unfinished > 0 && hung.lost == 0);
    }

    #[tokio::test]
    async fn what_runs_after_the_steady_state_is_not_of_it() {
        let steady = done("steady", "pauses", Workload::Steady, 0, 0.5).await;
        assert_eq!((steady.lost, steady.repeated, steady.unfinished), (0, 0, 0));
        // Tasks enqueue them in almost the order of their numbers.
        assert!((1..fake::PAUSE + 100).contains(&steady.jobs), "{}", steady.jobs);
    }

    #[tokio::test]
    async fn what_is_put_off_is_a_part_of_a_drain() {
        done("finish", "deletes later", Workload::Fill, 100, 1.0).await;
        let good = done("finish", "deletes later", Workload::Drain, 100, 60.0).await;
        assert_eq!((faults(&good), good.jobs), ((0, 0, 0, false), 100));
        assert!(good.rate.unwrap() <= 100.0 / fake::FINISH.as_secs_f64());
    }

    #[tokio::test]
    async fn nothing_is_done_while_idle() {
        assert_eq!(done("none", "good", Workload::Idle, 0, 0.1).await, Figures::default());
    }
}
