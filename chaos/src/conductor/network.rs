//! The network before a server: a proxy that is slow, stalls and cuts, and before it one that drops chosen replies.

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
}

impl Network {
    /// Puts a second proxy before the first.
    pub async fn start<C: Conversation>(proxy: Proxy, protocol: fn() -> C) -> Result<Self> {
        let wire = Wire::start(proxy.port(), protocol).await?;
        Ok(Self { proxy, wire })
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
            // What was dropped least comes first, so that each has its turn.
            let (mut seen, dropped) = (self.wire.seen(), self.wire.dropped());
            dice.shuffle(&mut seen);
            seen.sort_by_key(|name| dropped.get(name).copied().unwrap_or_default());
            let Some(next) = seen.first() else { break };
            self.wire.drop_next(next);
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
    pub fn dropped(&self) -> std::collections::BTreeMap<String, u64> {
        self.wire.dropped()
    }
}
