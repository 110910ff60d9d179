//! What is ready at the same moment goes in the order that the seed draws.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use super::*;
use crate::sim::Plan;

/// Who was there, and at which moments.
type Order = Arc<Mutex<Vec<(Vec<Duration>, usize)>>>;

/// Runs two tasks in a world without faults, and answers who came first if both came at the same moments.
fn first<F>(seed: u64, task: fn(Arc<World>, usize, Order) -> F) -> Option<usize>
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    let order = Order::default();
    runtime.block_on(async {
        let world = Arc::new(World::new(&Plan { per_mille: 0, ..Plan::of(seed) }));
        let tasks = [0, 1].map(|n| tokio::spawn(task(world.clone(), n, order.clone())));
        for task in tasks {
            task.await.unwrap();
        }
    });
    let order = order.lock().unwrap();
    (order[0].0 == order[1].0).then(|| order[0].1)
}

/// Each of the two is first under some seed, and under the same one whenever it is asked.
fn is_drawn<F>(task: fn(Arc<World>, usize, Order) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let firsts = || (1..=100).map(|seed| first(seed, task)).collect::<Vec<_>>();
    let once = firsts();
    assert_eq!(once, firsts());
    let whos: BTreeSet<_> = once.into_iter().flatten().collect();
    assert_eq!(whos, BTreeSet::from([0, 1]), "the order is always the same");
}

#[test]
fn the_seed_draws_whose_request_arrives_first() {
    is_drawn(|world, n, order| async move {
        let arrive = move |world: &World| {
            order.lock().unwrap().push((vec![world.begun.elapsed()], n));
            Ok(())
        };
        Faulty::new(world, n.to_string()).call("arrive", arrive).await.unwrap();
    });
}

#[test]
fn the_seed_draws_who_is_answered_first() {
    is_drawn(|world, n, order| async move {
        let begun = world.begun;
        let ask = |world: &World| Ok(world.begun.elapsed());
        let asked = Faulty::new(world, n.to_string()).call("ask", ask).await.unwrap();
        order.lock().unwrap().push((vec![asked, begun.elapsed()], n));
    });
}

#[test]
fn the_seed_draws_who_is_the_first_to_go_on_after_a_rest() {
    is_drawn(|world, n, order| async move {
        world.rest(Duration::from_millis(5)).await;
        order.lock().unwrap().push((vec![world.begun.elapsed()], n));
    });
}
