//! Heartbeats of the workers of one client that are due at about the same time go in one call.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};

use crate::worker::lock;
use crate::worker::shared::Shared;
use crate::{Beat, Client, Heartbeat, Result};

/// How long the first of them waits for the others.
const GATHER: Duration = Duration::from_millis(5);

/// Those that wait to be sent.
#[derive(Debug, Default)]
pub(crate) struct Beats {
    waiting: Mutex<Vec<Waiting>>,
    gathering: Notify,
}

#[derive(Debug)]
struct Waiting {
    beat: Beat,
    /// For how long it waits.
    bound: Duration,
    answer: oneshot::Sender<Heartbeat>,
}

impl Beats {
    /// Waits until a sibling is about to send a heartbeat, so that another can go along.
    pub(crate) async fn gathering(&self) {
        self.gathering.notified().await;
    }

    fn take(&self) -> Vec<Waiting> {
        std::mem::take(&mut lock(&self.waiting))
    }
}

/// Sends a heartbeat by itself.
pub(crate) async fn alone(shared: &Shared, beat: &Beat) -> Result<Heartbeat> {
    shared.backend().heartbeat(beat.worker, &beat.owned).await
}

/// Sends a heartbeat together with those of siblings. When that fails, or takes longer than `bound`, for whatever reason and whoever is to blame,
/// it is sent by itself.
pub(crate) async fn together(
    shared: &Arc<Shared>,
    beat: &Beat,
    bound: Duration,
) -> Result<Heartbeat> {
    let leased = |member: &&Arc<Shared>| member.registry.worker().is_some();
    if shared.upkeep().members().iter().filter(leased).count() > 1 {
        let (answer, told) = oneshot::channel();
        let first = {
            let mut waiting = lock(&shared.upkeep().beats.waiting);
            // Of a runtime that ended before it sent them.
            waiting.retain(|waiting| !waiting.answer.is_closed());
            waiting.push(Waiting { beat: beat.clone(), bound, answer });
            waiting.len() == 1
        };
        if first {
            // A task, which goes on when this worker ends.
            tokio::spawn(send(shared.client.clone()));
        }
        if let Ok(Ok(answer)) = timeout(bound, told).await {
            return Ok(answer);
        }
    }
    alone(shared, beat).await
}

/// Sends what has gathered. Those that get no answer see to themselves.
async fn send(client: Client) {
    let beats = &client.upkeep().beats;
    beats.gathering.notify_waiters();
    sleep(GATHER).await;
    let waiting = beats.take();
    let bound = waiting.iter().map(|waiting| waiting.bound).max().unwrap_or_default();
    let all: Vec<_> = waiting.iter().map(|waiting| waiting.beat.clone()).collect();
    let answers = timeout(bound, client.backend().heartbeats(&all)).await;
    let Ok(Ok(answers)) = answers else { return };
    if answers.len() == waiting.len() {
        for (waiting, answer) in waiting.into_iter().zip(answers) {
            let _ = waiting.answer.send(answer);
        }
    }
}
