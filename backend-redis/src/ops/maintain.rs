//! What the passing of time does.

use redis::Value;
use windlass_core::kit::duration;
use windlass_core::{JobId, Maintained, Result};

use crate::backend::Inner;
use crate::script::Args;
use crate::wire;

/// Jobs of each kind of work in one script: some milliseconds of the server's time.
const AT_ONCE: u64 = 100;

/// Runs scripts until each kind of work is done or has reached the limit.
pub(crate) async fn maintain(inner: &Inner, limit: u32) -> Result<Maintained> {
    let limit = u64::from(limit);
    let mut done = Maintained::default();
    let (mut freed, mut left) = (0, [true; 3]);
    loop {
        let room =
            [done.promoted, done.rescued.len() as u64, freed].map(|n| limit.saturating_sub(n));
        let asked = [0, 1, 2].map(|n| if left[n] { room[n].min(AT_ONCE) } else { 0 });
        let args = Args::new().bytes(&inner.limits).bytes(&inner.pauses);
        let args = asked.iter().fold(args, |args, n| args.int(n));
        let answer = inner.call("maintain", &inner.scripts.maintain, args).await?;
        let [promoted, rescued, windows, removed, due, lost, passed, wait, leased] =
            wire::items::<9>(answer)?;
        done.promoted += wire::count(&promoted)?;
        for id in wire::list(rescued)? {
            done.rescued.push(JobId::from_slice(&wire::bytes(id)?)?);
        }
        freed += wire::count(&windows)?;
        done.workers_removed += wire::count(&removed)?;
        done.workers = wire::count(&leased)?;
        let wait = wire::int(&wait)?;
        done.next_due = (wait >= 0).then(|| duration(wait));
        let more = more([&due, &lost, &passed])?;
        let full = [done.promoted, done.rescued.len() as u64, freed].map(|n| n >= limit);
        left = [0, 1, 2].map(|n| more[n] && !full[n]);
        if !left.contains(&true) {
            done.more = more.contains(&true);
            return Ok(done);
        }
    }
}

fn more(flags: [&Value; 3]) -> Result<[bool; 3]> {
    let [due, lost, passed] = flags.map(wire::int);
    Ok([due? == 1, lost? == 1, passed? == 1])
}
