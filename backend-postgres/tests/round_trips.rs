//! How many statements a call sends, counted by the server itself: as many for a large batch as for a small one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::blocks::{Counted, run, server};
use common::{HOUR, claim, completed, job, worker};
use windlass_core::{
    AttemptOutcome, Failure, FailureKind, Lease, Queue, Settled, Settlement, Store,
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
