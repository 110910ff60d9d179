//! The network before a server: a proxy that is slow, stalls and cuts, and before it one that drops chosen replies.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use windlass_test_servers::{Proxy, Stall};

use super::plan::Dice;
use crate::Result;
use crate::wire::{Conversation, Wire};

/// How long a reply is waited for that is to be dropped.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Both proxies.
#[derive(Debug)]
pub struct Network {
    proxy: Proxy,
    wire: Wire,
    /// How often the reply to each was waited for.
    asked: Mutex<BTreeMap<String, u64>>,
}

/// Which reply is to be dropped next: one that was waited for least. Not one that was dropped least: some never come again, such as those to what
/// opens a backend, and nothing else would ever have its turn.
fn next(
    mut seen: Vec<String>,
    asked: &mut BTreeMap<String, u64>,
    dice: &mut Dice,
) -> Option<String> {
    dice.shuffle(&mut seen);
    let times = |name: &String| asked.get(name).copied().unwrap_or_default();
    let next = seen.into_iter().min_by_key(times)?;
    *asked.entry(next.clone()).or_default() += 1;
    Some(next)
}

impl Network {
    /// Puts a second proxy before the first.
    pub async fn start<C: Conversation>(proxy: Proxy, protocol: fn() -> C) -> Result<Self> {
        let wire = Wire::start(proxy.port(), protocol).await?;
        Ok(Self { proxy, wire, asked: Mutex::default() })
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.wire.port()
    }

    /// Cuts all connections several times. Answers how many were open.
    pub async fn cut(&self, dice: &mut Dice) -> u64 {
        let mut cut = 0;
        for _ in 0..1 + dice.below(4) {
            cut += self.proxy.cut().await as u64;
            tokio::time::sleep(dice.between(0.1, 0.6)).await;
        }
        cut
    }

    /// Is slow for a while. Answers how many pieces of data that held back.
    pub async fn slow(&self, dice: &mut Dice) -> u64 {
        let before = self.proxy.held();
        self.proxy.delay(dice.between(0.01, 0.08));
        tokio::time::sleep(dice.between(2.0, 5.0)).await;
        self.proxy.delay(Duration::ZERO);
        self.proxy.held() - before
    }

    /// Holds bytes back for a while, and then cuts the connections or lets all go through. Answers how many pieces of data it held back.
    pub async fn stall(&self, dice: &mut Dice) -> u64 {
        let before = self.proxy.held();
        let stalls = [Stall::All, Stall::Replies, Stall::Requests];
        self.proxy.stall(dice.one_of(&stalls).copied().unwrap_or(Stall::All));
        tokio::time::sleep(dice.between(0.5, 5.0)).await;
        if dice.below(2) == 0 {
            self.proxy.cut().await;
        }
        self.proxy.stall(Stall::Off);
        self.proxy.held() - before
    }

    /// Drops replies to what was committed, each of another statement or script if it can. Answers how many.
    pub async fn drop_replies(&self, dice: &mut Dice) -> u64 {
        let before: u64 = self.wire.dropped().values().sum();
        for _ in 0..3 + dice.below(6) {
            let (seen, dropped) = (self.wire.seen(), self.wire.dropped());
            let next =
                next(seen, &mut self.asked.lock().unwrap_or_else(PoisonError::into_inner), dice);
            let Some(next) = next else { break };
            self.wire.drop_next(&next);
            let begun = Instant::now();
            while begun.elapsed() < PATIENCE && self.wire.dropped() == dropped {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            self.wire.spare();
        }
        self.wire.dropped().values().sum::<u64>() - before
    }

    /// Ends whatever is wrong with it.
    pub fn heal(&self) {
        self.proxy.delay(Duration::ZERO);
        self.proxy.stall(Stall::Off);
        self.wire.spare();
    }

    /// How many replies were dropped, by what they said.
    pub fn dropped(&self) -> BTreeMap<String, u64> {
        self.wire.dropped()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// None of what goes on waits for what never comes again.
    #[test]
    fn each_reply_has_its_turn() {
        let (mut asked, mut dice) = (BTreeMap::new(), Dice::of(1, 1));
        let seen = |to: usize| (0..to).map(|n| format!("statement {n}")).collect::<Vec<_>>();
        assert_eq!(next(Vec::new(), &mut asked, &mut dice), None);
        for _ in 0..20 {
            assert!(next(seen(5), &mut asked, &mut dice).is_some());
        }
        assert!(asked.values().all(|times| *times == 4), "{asked:?}");
        // What is seen later has its turn first, and then takes turns.
        let late: Vec<_> = (0..4).filter_map(|_| next(seen(6), &mut asked, &mut dice)).collect();
        assert!(late.iter().all(|name| name == "statement 5"), "{late:?}");
    }
}
