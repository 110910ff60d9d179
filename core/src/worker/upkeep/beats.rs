//! Heartbeats of the workers of one client that are due at about the same time go in one call.

use std::sync::{Arc, Mutex, Weak};
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
    state: Mutex<State>,
    gathering: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Waiting>,
    /// Who will send them. Its runtime may end before that.
    sender: Weak<Sender>,
}

#[derive(Debug)]
struct Waiting {
    beat: Beat,
    /// For how long it waits.
    bound: Duration,
    answer: oneshot::Sender<Heartbeat>,
}

/// Held by who will send all that wait, until it takes them.
#[derive(Debug)]
struct Sender;

impl Beats {
    /// Waits until a sibling is about to send a heartbeat, so that another can go along.
    pub(crate) async fn gathering(&self) {
        self.gathering.notified().await;
    }

    /// Adds one to those that wait. Where nobody is there to send them, whoever added it is to.
    fn add(
        &self,
        beat: Beat,
        bound: Duration,
    ) -> (oneshot::Receiver<Heartbeat>, Option<Arc<Sender>>) {
        let (answer, told) = oneshot::channel();
        let mut state = lock(&self.state);
        state.waiting.retain(|waiting| !waiting.answer.is_closed());
        state.waiting.push(Waiting { beat, bound, answer });
        let sender = (state.sender.strong_count() == 0).then(|| Arc::new(Sender));
        if let Some(sender) = &sender {
            state.sender = Arc::downgrade(sender);
        }
        (told, sender)
    }

    /// Takes all that wait; the next to come are another's to send.
    fn take(&self, sender: Arc<Sender>) -> Vec<Waiting> {
        let mut state = lock(&self.state);
        drop(sender);
        std::mem::take(&mut state.waiting)
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
        let (told, sender) = shared.upkeep().beats.add(beat.clone(), bound);
        if let Some(sender) = sender {
            // A task, which goes on when this worker ends.
            tokio::spawn(send(shared.client.clone(), sender));
        }
        if let Ok(Ok(answer)) = timeout(bound, told).await {
            return Ok(answer);
        }
    }
    alone(shared, beat).await
}

/// Sends what has gathered. Those that get no answer see to themselves.
async fn send(client: Client, sender: Arc<Sender>) {
    let beats = &client.upkeep().beats;
    beats.gathering.notify_waiters();
    sleep(GATHER).await;
    let waiting = beats.take(sender);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WorkerId;

    fn add(beats: &Beats) -> (oneshot::Receiver<Heartbeat>, Option<Arc<Sender>>) {
        beats.add(Beat::new(WorkerId::new(), Vec::new()), GATHER)
    }

    #[test]
    fn one_sends_for_all_that_come_before_it_takes_them() {
        let beats = Beats::default();
        let (_first, sender) = add(&beats);
        let (_second, none) = add(&beats);
        assert!(none.is_none());
        assert_eq!(beats.take(sender.unwrap()).len(), 2);
        let (_third, sender) = add(&beats);
        assert_eq!(beats.take(sender.unwrap()).len(), 1);
    }

    /// Otherwise all would wait in vain for as long as some of them wait at any time.
    #[test]
    fn when_the_sender_is_gone_the_next_to_come_sends_for_those_that_wait() {
        let beats = Beats::default();
        let (first, sender) = add(&beats);
        let (_second, none) = add(&beats);
        assert!(none.is_none());
        // As when a runtime ends.
        drop((first, sender));
        let (_third, sender) = add(&beats);
        assert_eq!(beats.take(sender.unwrap()).len(), 2);
    }
}
