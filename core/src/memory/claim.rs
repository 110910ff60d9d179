//! Claiming.

use jiff::Timestamp;

use super::state::{Inner, Row, Step};
use crate::{Cause, ClaimRequest, Claimed, Error, JobId, Lease, QueueName, Result, machine};

impl Inner {
    pub(super) fn claim(&mut self, request: &ClaimRequest, now: Timestamp) -> Result<Claimed> {
        if !self.alive(request.worker, now) {
            return Err(Error::WorkerExpired { worker: request.worker });
        }
        if request.resend {
            let leases = self.claimed_before(request);
            if !leases.is_empty() {
                return Ok(Claimed::new(leases));
            }
        }
        let mut room: Vec<u32> =
            request.kinds.iter().map(|slots| slots.limit.unwrap_or(u32::MAX)).collect();
        let mut leases = Vec::new();
        for slots in &request.queues {
            if self.queues.get(&slots.queue).is_some_and(|settings| settings.paused) {
                continue;
            }
            for _ in 0..slots.limit {
                let Some((kind, id)) = self.next_ready(&slots.queue, request, &room) else { break };
                room[kind] -= 1;
                leases.extend(self.claim_one(id, request, now));
            }
        }
        Ok(Claimed::new(leases))
    }

    /// The first job of a queue among the kinds that have room left: which kind's, and its id.
    fn next_ready(
        &self,
        queue: &QueueName,
        request: &ClaimRequest,
        room: &[u32],
    ) -> Option<(usize, JobId)> {
        let open = request.kinds.iter().enumerate().filter(|(kind, _)| room[*kind] > 0);
        open.filter_map(|(kind, slots)| {
            Some((self.index.first_ready(queue, request.lane, &slots.kind)?, kind))
        })
        .min()
        .map(|((_, _, id), kind)| (kind, id))
    }

    fn claim_one(&mut self, id: JobId, request: &ClaimRequest, now: Timestamp) -> Option<Lease> {
        let to = machine::claimed(&self.facts(id)?)?;
        let owner = Some((request.worker, request.claim_id));
        let step = Step { worker: Some(request.worker), owner, ..Step::by(Cause::Claimed) };
        self.apply(id, &to, step, now);
        lease(self.jobs.get(&id)?)
    }

    /// What runs under the claim id of a request whose reply was lost, in the order of that reply.
    fn claimed_before(&self, request: &ClaimRequest) -> Vec<Lease> {
        let ids = self.index.running_under(request.worker);
        let mut rows: Vec<_> = ids
            .filter_map(|id| self.jobs.get(&id))
            .filter(|row| row.job.claim_id == Some(request.claim_id))
            .collect();
        let place = |row: &Row| request.queues.iter().position(|q| q.queue == row.job.queue);
        rows.sort_by_key(|row| (place(row), row.job.priority, row.order));
        rows.into_iter().filter_map(lease).collect()
    }
}

fn lease(row: &Row) -> Option<Lease> {
    Some(Lease::of(&row.job, row.key()?))
}
