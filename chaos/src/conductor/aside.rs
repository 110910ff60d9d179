//! Keeps a store as small as where finished jobs are pruned: in a soak, completed ones become evidence some time after their end, and then the
//! store is told to delete them. It would grow by all that an hour brings otherwise, and with it the time that a server takes to start and to write its log anew.

use std::collections::HashMap;
use std::time::Duration;

use windlass::{Change, Client, JobId, Position, Retention, Selector, State, Timestamp};
use windlass_checker::FinalJob;

use super::gather::{Direct, again, read_jobs};
use crate::Result;

/// How long after its end nobody asks for a completed job any more: whoever sends something again has given up, and the feed's reader has heard of it.
/// Others are kept, as an operator may run them again.
pub(super) const AGE: Duration = Duration::from_secs(60);

/// What was read of jobs that the store was told to delete.
#[derive(Debug, Default)]
pub(super) struct Aside {
    jobs: HashMap<JobId, FinalJob>,
    last: Option<Position>,
}

impl Aside {
    /// Reads the jobs that completed so long ago, and has the store delete them, and the feed's entries of that age.
    pub(super) async fn put(&mut self, direct: &Direct, age: Duration) -> Result<()> {
        let before = Timestamp::now() - age;
        let old = |ended: Option<Timestamp>| ended.is_some_and(|ended| ended <= before);
        let (jobs, last) =
            read_jobs(direct, &[State::Completed], |job| old(job.finished_at)).await?;
        let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
        // They are evidence whatever comes of the deletion.
        self.jobs.extend(jobs.into_iter().map(|job| (job.id, job)));
        self.last = self.last.max(last);
        let client: &Client = direct.client();
        again(|| client.change(Selector::Ids(ids.clone()), Change::Delete)).await?;
        let mut retention = Retention::keep_all();
        retention.events = Some(age);
        again(|| client.prune(&retention)).await?;
        Ok(())
    }

    /// Adds what was put aside to what is in the store at the end, and to the last position there. Answers what is wrong: completed jobs
    /// that have changed since.
    pub(super) fn join(
        &mut self,
        jobs: &mut Vec<FinalJob>,
        last: &mut Option<Position>,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        for job in &*jobs {
            // The answer to its deletion was an error, or its deletion was undone.
            if self.jobs.remove(&job.id).is_some_and(|old| old != *job) {
                wrong.push(format!("job {} had completed, and is another one now", job.id));
            }
        }
        jobs.extend(self.jobs.drain().map(|(_, job)| job));
        *last = self.last.max(*last);
        wrong
    }
}

#[cfg(test)]
mod tests {
    use windlass::{Context, EventFilter, Outcome, Worker};

    use super::*;
    use crate::conductor::gather;
    use crate::jobs::{Made as _, Plain};

    async fn plain(_: Plain, _: Context) -> Outcome {
        Ok(())
    }

    /// A store with a completed, a cancelled and a waiting job, and the first of them as it is read.
    async fn ended() -> (Direct, FinalJob) {
        let direct = gather::open("memory:").await.unwrap();
        let client = direct.client();
        let later = || Plain::draft(2).delay(Duration::from_secs(3_600));
        client.enqueue(later()).await.unwrap();
        let cancelled = client.enqueue(later()).await.unwrap().id();
        assert!(client.cancel(cancelled).await.unwrap());
        client.enqueue(Plain::draft(1)).await.unwrap();
        let completed = || async {
            let (jobs, _) = read_jobs(&direct, &[State::Completed], |_| true).await.unwrap();
            jobs.into_iter().next()
        };
        let worker = Worker::new(client).queue("default", 1).register(plain);
        let ran = async {
            while completed().await.is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        worker.run_until(ran).await.unwrap();
        let job = completed().await.unwrap();
        (direct, job)
    }

    async fn stored(direct: &Direct) -> (Vec<FinalJob>, Option<Position>) {
        read_jobs(direct, &[], |_| true).await.unwrap()
    }

    #[tokio::test]
    async fn completed_jobs_become_evidence_and_leave_the_store() {
        let (direct, job) = ended().await;
        let (before, position) = stored(&direct).await;
        let mut aside = Aside::default();
        aside.put(&direct, Duration::ZERO).await.unwrap();
        let (mut jobs, mut last) = stored(&direct).await;
        assert_eq!(jobs.len(), 2);
        assert!(last < position);
        let feed = direct.client().backend().events(&EventFilter::default(), None, 100).await;
        assert!(feed.unwrap().events.is_empty());

        assert!(aside.join(&mut jobs, &mut last).is_empty());
        assert!(jobs.contains(&job) && !job.changes.is_empty());
        assert_eq!((jobs.len(), last), (before.len(), position));
    }

    #[tokio::test]
    async fn what_has_just_ended_stays() {
        let (direct, _) = ended().await;
        Aside::default().put(&direct, AGE).await.unwrap();
        assert_eq!(stored(&direct).await.0.len(), 3);
    }

    #[tokio::test]
    async fn a_job_that_is_there_again_is_the_same_or_wrong() {
        let (direct, job) = ended().await;
        for (attempt, wrong) in [(job.attempt, 0), (job.attempt + 1, 1)] {
            let mut aside = Aside::default();
            aside.jobs.insert(job.id, job.clone());
            let mut jobs = vec![FinalJob { attempt, ..job.clone() }];
            assert_eq!(aside.join(&mut jobs, &mut None).len(), wrong);
            assert_eq!(jobs.len(), 1);
        }
        direct.close().await;
    }
}
