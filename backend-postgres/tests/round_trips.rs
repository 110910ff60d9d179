//! How many statements a call sends, counted by the server itself: as many for a large batch as for a small one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::blocks::{Counted, run, server};
use common::{HOUR, claim, completed, job, worker};
use windlass_core::{
    AttemptOutcome, Beat, Failure, FailureKind, Heartbeat, Lease, Queue, Settled, Settlement, Store,
};

/// Settlements of three sorts by turns.
fn mixed(leases: &[Lease]) -> Vec<Settlement> {
    let settlement = |(n, lease): (usize, &Lease)| match n % 3 {
        0 => completed(lease),
        1 => Settlement::new(lease.key, AttemptOutcome::Snoozed { delay: HOUR }),
        _ => {
            let failure = Failure { kind: FailureKind::Error, message: "boom".into() };
            Settlement::new(lease.key, AttemptOutcome::Retry { delay: HOUR, failure })
        }
    };
    leases.iter().enumerate().map(settlement).collect()
}

/// Statements that the server has run in this database since it was asked to forget.
async fn statements(counted: &mut Counted) -> i64 {
    let query = "SELECT sum(calls)::bigint FROM pg_stat_statements WHERE query NOT LIKE '%pg_stat_statements%'
        AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let rows = "SELECT left(query, 60), calls FROM pg_stat_statements WHERE query NOT LIKE '%pg_stat_statements%'
        AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())";
    for (text, calls) in
        sqlx::query_as::<_, (String, i64)>(rows).fetch_all(&mut counted.admin).await.unwrap()
    {
        println!("{calls:>3}  {}", text.lines().next().unwrap_or_default());
    }
    sqlx::query_scalar(query).fetch_one(&mut counted.admin).await.unwrap()
}

#[tokio::test]
async fn a_batch_of_mixed_outcomes_takes_a_few_statements_whatever_its_size() {
    let server = server().await;
    // Nobody is told of anything meanwhile.
    let mut counted = Counted::open_with(&server, |options| options.notify(false)).await;
    let backend = counted.backend.clone();
    let id = worker(&backend).await;
    let mut sent = Vec::new();
    for size in [3_u32, 3, 300] {
        backend
            .insert(&std::iter::repeat_with(job).take(size as usize).collect::<Vec<_>>())
            .await
            .unwrap();
        let leases = claim(&backend, id, size).await;
        let settlements = mixed(&leases);
        run(&mut counted.admin, "SELECT pg_stat_statements_reset()").await;
        let settled = backend.settle(&settlements).await.unwrap();
        assert!(settled.iter().all(|one| matches!(one, Settled::Applied { .. })), "{settled:?}");
        sent.push(statements(&mut counted).await);
    }
    println!("statements for 3, 3 and 300 settlements: {sent:?}");
    assert_eq!(sent[1], sent[2]);
    assert!(sent[2] <= 12, "{sent:?}");
}

#[tokio::test]
async fn the_heartbeats_of_a_clients_workers_are_one_statement() {
    let server = server().await;
    let mut counted = Counted::open_with(&server, |options| options.notify(false)).await;
    let backend = counted.backend.clone();
    let mut beats = Vec::new();
    for n in 0..10 {
        let id = worker(&backend).await;
        backend.insert(&[job()]).await.unwrap();
        // Some of them are idle.
        let leases = if n % 2 == 0 { claim(&backend, id, 1).await } else { Vec::new() };
        beats.push(Beat::new(id, leases.iter().map(|lease| lease.key).collect()));
    }
    let alive = Heartbeat::Alive { lost: vec![], cancel: vec![], orphaned: vec![] };
    for _ in 0..5 {
        run(&mut counted.admin, "SELECT pg_stat_statements_reset()").await;
        assert_eq!(backend.heartbeats(&beats).await.unwrap(), vec![alive.clone(); 10]);
        assert_eq!(statements(&mut counted).await, 1);
    }
}
