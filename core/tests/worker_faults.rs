//! The worker against a backend that loses replies, fails, or says unexpected things. Paused time throughout.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, too

mod worker_support;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use windlass_core::*;
use worker_support::double::*;
use worker_support::*;

const SECOND: Duration = Duration::from_secs(1);

/// Counts up when dropped: a handler that holds one was ended.
#[derive(Clone, Default)]
struct Count(Arc<AtomicU64>);

impl Count {
    fn get(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
    fn up(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
    fn on_drop(&self) -> OnDrop {
        OnDrop(self.clone())
    }
}

struct OnDrop(Count);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.up();
    }
}

fn faults() -> (MemoryBackend, MockCalls) {
    (MemoryBackend::with_tokio_clock(), MockCalls::new())
}

/// A worker with one handler that counts its runs and completes.
fn counting(client: &Client<Double>, runs: &Count) -> Worker {
    let runs = runs.clone();
    simulated(client)
        .register(move |job: Alpha, _| {
            runs.up();
            async move { Ok(job.0) }
        })
        .queue("main", 4)
}

/// What a test saw of the claims: ids, and which were sent again.
type Seen = Arc<Mutex<Vec<(ClaimId, bool)>>>;

/// A claim whose first sending with something to claim is applied, and then answered as the test says.
fn first_claim_is_applied(
    calls: &mut MockCalls,
    memory: &MemoryBackend,
    answer: fn(Claimed) -> Result<Claimed>,
) -> Seen {
    let (memory, seen) = (memory.clone(), Seen::default());
    let (log, done) = (seen.clone(), AtomicBool::new(false));
    calls.expect_claim().returning(move |request| {
        log.lock().unwrap().push((request.claim_id, request.resend));
        let claimed = now(memory.claim(request))?;
        let first = !claimed.leases.is_empty() && !done.swap(true, Ordering::SeqCst);
        if first { answer(claimed) } else { Ok(claimed) }
    });
    seen
}

async fn a_lost_claim_is_read_back(answer: fn(Claimed) -> Result<Claimed>) {
    let (memory, mut calls) = faults();
    let seen = first_claim_is_applied(&mut calls, &memory, answer);
    let client = calls.over(&memory);
    let id = insert(&memory, Alpha(1)).await;
    let runs = Count::default();
    let worker = counting(&client, &runs).start().unwrap();
    let job = reaches(&memory, id, State::Completed).await;
    assert_eq!((job.attempt, job.crashes, runs.get()), (1, 0, 1));
    worker.shutdown();
    worker.join().await.unwrap();
    let seen = seen.lock().unwrap().clone();
    let again: Vec<_> = seen.iter().filter(|(_, resend)| *resend).collect();
    assert_eq!(again.len(), 1);
    // Only the one that was lost was sent twice.
    let ids: HashSet<_> = seen.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), seen.len() - 1);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_fails_after_it_was_applied_is_read_back_by_its_claim_id() {
    a_lost_claim_is_read_back(|_| Err(lost_reply())).await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_never_answered_is_read_back_by_its_claim_id() {
    a_lost_claim_is_read_back(|_| Err(hangs())).await;
}

/// The network may bring a request twice. What was claimed is one claim then, whose answer is more than was asked for.
#[tokio::test(start_paused = true)]
async fn a_claim_that_came_twice_runs_no_more_of_a_kind_than_may_run_at_once() {
    let (memory, mut calls) = faults();
    let twice = memory.clone();
    let (asked, brought) = (AtomicBool::new(false), Count::default());
    let count = brought.clone();
    calls.expect_claim().returning(move |request| {
        let claimed = now(twice.claim(request))?;
        if !claimed.leases.is_empty() && !asked.swap(true, Ordering::SeqCst) {
            now(twice.claim(request))?;
            return Err(lost_reply());
        }
        if request.resend {
            (0..claimed.leases.len()).for_each(|_| count.up());
        }
        Ok(claimed)
    });
    let client = calls.over(&memory);
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(insert(&memory, Alpha(n)).await);
    }
    let (at_once, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (inside, top) = (at_once.clone(), most.clone());
    let _worker = simulated(&client)
        .register(move |_: Alpha, _| {
            let (inside, top) = (inside.clone(), top.clone());
            async move {
                top.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                sleep(SECOND).await;
                inside.fetch_sub(1, Ordering::SeqCst);
                Ok(0)
            }
        })
        .kind_concurrency::<Alpha>(2)
        .queue("main", 4)
        .start()
        .unwrap();
    for id in ids {
        let job = reaches(&memory, id, State::Completed).await;
        assert_eq!(
            (job.attempt, job.crashes),
            (1, 0),
            "what was too many was given back uncounted"
        );
    }
    assert_eq!(brought.get(), 4, "the claim came twice");
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

/// A claim that was applied without the worker ever learning of it: the heartbeat finds the job, and it is given back.
#[tokio::test(start_paused = true)]
async fn a_job_that_runs_here_without_the_worker_knowing_is_released() {
    let (memory, mut calls) = faults();
    first_claim_is_applied(&mut calls, &memory, |_| Ok(Claimed::default()));
    let client = calls.over(&memory);
    let id = insert(&memory, Alpha(1)).await;
    let runs = Count::default();
    let _worker = counting(&client, &runs).start().unwrap();
    let job = reaches(&memory, id, State::Completed).await;
    assert_eq!((job.attempt, job.crashes, runs.get()), (1, 0, 1));
}

/// One heartbeat may have been overtaken by a settlement; only what two in a row name is given back.
#[tokio::test(start_paused = true)]
async fn a_job_that_a_single_heartbeat_names_is_left_alone() {
    let (memory, mut calls) = faults();
    let stale = LeaseKey { job: JobId::new(), epoch: Epoch(1), claim_id: ClaimId::new() };
    let beats = Count::default();
    let count = beats.clone();
    calls.expect_heartbeat().returning(move |_, _| {
        count.up();
        let orphaned = if count.get() % 2 == 0 { vec![stale] } else { Vec::new() };
        Ok(Heartbeat::Alive { lost: Vec::new(), cancel: Vec::new(), orphaned })
    });
    let (settled, m) = (Count::default(), memory.clone());
    let count = settled.clone();
    calls.expect_settle().returning(move |all| {
        count.up();
        now(m.settle(all))
    });
    let client = calls.over(&memory);
    let _worker = counting(&client, &Count::default()).start().unwrap();
    until("twenty heartbeats", || async { beats.get() == 20 }).await;
    assert_eq!(settled.get(), 0);
}

/// While the claim's reply is on its way, its jobs are no orphans, however many heartbeats name them.
#[tokio::test(start_paused = true)]
async fn jobs_of_a_claim_on_its_way_are_not_released() {
    let (memory, mut calls) = faults();
    first_claim_is_applied(&mut calls, &memory, |_| Err(hangs()));
    let client = calls.over(&memory);
    let id = insert(&memory, Alpha(1)).await;
    let runs = Count::default();
    let worker = counting(&client, &runs)
        .options(|o| o.call_timeout = 60 * SECOND) // six heartbeats
        .start()
        .unwrap();
    let job = reaches(&memory, id, State::Completed).await;
    assert_eq!((job.attempt, job.epoch, worker.stats().released), (1, Epoch(1), 0));
}

#[tokio::test(start_paused = true)]
async fn a_settlement_that_fails_after_it_was_applied_is_repeated_to_no_harm() {
    let (memory, mut calls) = faults();
    let m = memory.clone();
    calls.expect_settle().times(1).returning(move |all| {
        now(m.settle(all)).unwrap();
        Err(lost_reply())
    });
    let client = calls.over(&memory);
    let id = insert(&memory, Alpha(1)).await;
    let runs = Count::default();
    let worker = counting(&client, &runs).start().unwrap();
    reaches(&memory, id, State::Completed).await;
    until("the settlement is answered", || async { worker.stats().completed == 1 }).await;
    assert_eq!((runs.get(), worker.stats().lost, worker.stats().running), (1, 0, 0));
}

/// F14, F48: errors of the backend never end the fetcher or lose an outcome; readiness tells of them.
#[tokio::test(start_paused = true)]
async fn f14_f48_an_outage_of_settle_and_claim_is_sat_out() {
    let (memory, mut calls) = faults();
    let down = Arc::new(AtomicBool::new(false));
    let (m, off) = (memory.clone(), down.clone());
    let fail = move || if off.load(Ordering::SeqCst) { Err(lost_reply()) } else { Ok(()) };
    let (settle, claim) = (fail.clone(), fail);
    calls.expect_settle().returning(move |all| settle().and_then(|()| now(m.settle(all))));
    let m = memory.clone();
    calls.expect_claim().returning(move |request| claim().and_then(|()| now(m.claim(request))));
    let client = calls.over(&memory);
    let (outage, runs) = (down.clone(), Count::default());
    let count = runs.clone();
    let worker = simulated(&client)
        .register(move |job: Alpha, _| {
            count.up();
            outage.store(job.0 == 1, Ordering::SeqCst);
            async move { Ok(job.0) }
        })
        .queue("main", 4)
        .start()
        .unwrap();
    until("the worker is ready", || async { worker.ready() }).await;
    let first = insert(&memory, Alpha(1)).await;
    until("readiness tells of the outage", || async { !worker.ready() }).await;
    let second = insert(&memory, Alpha(2)).await;
    sleep(600 * SECOND).await;
    assert_eq!(get(&memory, first).await.state, State::Running);
    down.store(false, Ordering::SeqCst);
    reaches(&memory, first, State::Completed).await;
    reaches(&memory, second, State::Completed).await;
    until("the worker is ready again", || async { worker.ready() }).await;
    assert_eq!(runs.get(), 2);
}

/// F48: a worker that starts during an outage waits for its end, and says so.
#[tokio::test(start_paused = true)]
async fn f48_a_worker_may_start_before_its_backend() {
    let (memory, mut calls) = faults();
    let (m, begin) = (memory.clone(), Instant::now());
    calls.expect_register().returning(move |info| match begin.elapsed() {
        early if early < 300 * SECOND => Err(lost_reply()),
        early if early < 400 * SECOND => Err(hangs()),
        _ => now(m.register(info)),
    });
    let client = calls.over(&memory);
    let id = insert(&memory, Alpha(1)).await;
    let runs = Count::default();
    let worker = counting(&client, &runs).start().unwrap();
    sleep(399 * SECOND).await;
    assert!(!worker.ready() && worker.id().is_none() && runs.get() == 0);
    reaches(&memory, id, State::Completed).await;
    assert!(worker.ready());
}

/// One settlement that the backend chokes on does not hold up the others.
#[tokio::test(start_paused = true)]
async fn a_settlement_that_always_fails_does_not_hold_up_others() {
    let (memory, mut calls) = faults();
    let poison = insert(&memory, Alpha(1)).await;
    let m = memory.clone();
    calls.expect_settle().returning(move |all| {
        if all.iter().any(|s| s.key.job == poison) {
            return Err(Error::Backend {
                backend: "double",
                during: "settle",
                source: "no".into(),
            });
        }
        now(m.settle(all))
    });
    let client = calls.over(&memory);
    let mut others = Vec::new();
    for n in 2..5 {
        others.push(insert(&memory, Alpha(n)).await);
    }
    let _worker = counting(&client, &Count::default()).start().unwrap();
    for id in others {
        reaches(&memory, id, State::Completed).await;
    }
    assert_eq!(get(&memory, poison).await.state, State::Running);
}

/// F34 and lost wakes: polling alone finds a job within the longest poll time.
#[tokio::test(start_paused = true)]
async fn f34_a_job_is_found_by_polling_when_no_hint_ever_comes() {
    let (memory, calls) = faults();
    let client = calls.over(&memory);
    let runs = Count::default();
    let _worker = counting(&client, &runs).start().unwrap();
    sleep(600 * SECOND).await;
    let begin = Instant::now();
    insert(&memory, Alpha(1)).await;
    until("the job runs", || async { runs.get() == 1 }).await;
    assert!(begin.elapsed() <= 3 * SECOND, "{:?}", begin.elapsed());
}

/// A job that comes while a claim is under way is seen, by that claim or by the next hint: there is no gap between
/// taking one hint and waiting for the next.
#[tokio::test(start_paused = true)]
async fn a_job_that_comes_during_a_claim_is_not_left_to_the_poll() {
    let (memory, mut calls) = faults();
    calls.expect_wait().returning(|_, _| Err(hints()));
    let m = memory.clone();
    calls.expect_claim().returning(move |request| {
        let claimed = now(m.claim(request))?;
        for lease in &claimed.leases {
            // A chain: each job comes just after the claim that took the one before.
            let n = lease.args.parse::<Alpha>().unwrap().0;
            if n > 0 {
                now(insert(&m, Alpha(n - 1)));
            }
        }
        Ok(claimed)
    });
    let client = calls.over(&memory);
    let runs = Count::default();
    let _worker = counting(&client, &runs)
        .options(|o| {
            o.poll_min = 3_600 * SECOND;
            o.poll_max = 3_600 * SECOND;
            o.quarantine = 3_600 * SECOND;
        })
        .start()
        .unwrap();
    sleep(SECOND).await;
    let begin = Instant::now();
    insert(&memory, Alpha(99)).await;
    until("the chain has run", || async { runs.get() == 100 }).await;
    assert!(begin.elapsed() < 60 * SECOND, "{:?}", begin.elapsed());
}

/// F34: what an idle worker asks of the backend in an hour is bounded.
#[tokio::test(start_paused = true)]
async fn f34_an_idle_worker_asks_little() {
    let (memory, mut calls) = faults();
    let (claims, upkeep, beats) = (Count::default(), Count::default(), Count::default());
    let (m, count) = (memory.clone(), claims.clone());
    calls.expect_claim().returning(move |request| {
        count.up();
        now(m.claim(request))
    });
    let (m, count) = (memory.clone(), upkeep.clone());
    calls.expect_maintain().returning(move |limit| {
        count.up();
        now(m.maintain(limit))
    });
    let (m, count) = (memory.clone(), beats.clone());
    calls.expect_heartbeat().returning(move |worker, owned| {
        count.up();
        now(m.heartbeat(worker, owned))
    });
    let client = calls.over(&memory);
    let _worker = counting(&client, &Count::default()).start().unwrap();
    sleep(3_600 * SECOND).await;
    // Polls every 1 to 2 s and looks into quarantine every 2.5 to 5 s; maintenance every 0.5 to 1 s.
    assert!((1_800..=5_100).contains(&claims.get()), "{} claims", claims.get());
    assert!((3_600..=7_300).contains(&upkeep.get()), "{} maintenance calls", upkeep.get());
    assert!((350..=361).contains(&beats.get()), "{} heartbeats", beats.get());
}

/// Hints that are wrong each time, or time-outs that come at once, don't make a loop of calls.
#[tokio::test(start_paused = true)]
async fn spurious_hints_do_not_make_a_busy_loop() {
    for wake in [Wake::Hint, Wake::Timeout] {
        let (memory, mut calls) = faults();
        let (claims, waits) = (Count::default(), Count::default());
        let (m, count) = (memory.clone(), claims.clone());
        calls.expect_claim().returning(move |request| {
            count.up();
            now(m.claim(request))
        });
        let count = waits.clone();
        calls.expect_wait().returning(move |_, _| {
            count.up();
            assert!(count.get() < 20_000, "a busy loop of waits");
            Ok(wake)
        });
        let client = calls.over(&memory);
        let runs = Count::default();
        let worker = counting(&client, &runs).start().unwrap();
        insert(&memory, Alpha(1)).await;
        sleep(60 * SECOND).await;
        assert_eq!(runs.get(), 1);
        assert!(claims.get() < 3_000, "{} claims after {wake:?}", claims.get());
        worker.shutdown();
        worker.join().await.unwrap();
    }
}

/// F4: a lease that is lost in mid-run ends the handler, and nothing is settled for it.
#[tokio::test(start_paused = true)]
async fn f4_a_lease_lost_in_mid_run_aborts_the_handler_and_nothing_is_settled() {
    let (memory, mut calls) = faults();
    calls.expect_heartbeat().returning(|_, owned| {
        Ok(Heartbeat::Alive { lost: owned.to_vec(), cancel: Vec::new(), orphaned: Vec::new() })
    });
    let id = insert(&memory, Alpha(1)).await;
    let (settled, m) = (Count::default(), memory.clone());
    let count = settled.clone();
    calls.expect_settle().returning(move |all| {
        if all.iter().any(|s| s.key.job == id) {
            count.up();
        }
        now(m.settle(all))
    });
    let client = calls.over(&memory);
    let ended = Count::default();
    let guard = ended.clone();
    let worker = simulated(&client)
        .register(move |job: Alpha, _| {
            let guard = guard.on_drop();
            async move {
                if job.0 == 1 {
                    std::future::pending::<()>().await;
                }
                std::mem::forget(guard);
                Ok(job.0)
            }
        })
        .queue("main", 1)
        .start()
        .unwrap();
    until("the handler is aborted", || async { ended.get() == 1 }).await;
    // Its slot is free again.
    let next = insert(&memory, Alpha(2)).await;
    reaches(&memory, next, State::Completed).await;
    assert_eq!((settled.get(), worker.stats().lost), (0, 1));
    assert_eq!(get(&memory, id).await.state, State::Running);
}

/// What a worker does whose first incarnation can't heartbeat: it ends its handlers before its lease ends, and goes on
/// under a fresh id once it can.
async fn fences_itself(failure: fn() -> Error) {
    let (memory, mut calls) = faults();
    let registered: Arc<Mutex<Vec<WorkerId>>> = Arc::default();
    let (m, log) = (memory.clone(), registered.clone());
    calls.expect_register().returning(move |info| {
        log.lock().unwrap().push(info.id);
        now(m.register(info))
    });
    let (m, log) = (memory.clone(), registered.clone());
    calls.expect_heartbeat().returning(move |worker, owned| {
        if log.lock().unwrap()[0] == worker {
            return Err(failure());
        }
        now(m.heartbeat(worker, owned))
    });
    let client = calls.over(&memory);
    let id = insert(&memory, Alpha(1)).await;
    let ended = Arc::new(Mutex::new(None));
    let seen = ended.clone();
    struct At(Arc<Mutex<Option<Instant>>>);
    impl Drop for At {
        fn drop(&mut self) {
            self.0.lock().unwrap().get_or_insert(Instant::now());
        }
    }
    let worker = simulated(&client)
        .register(move |_: Alpha, cx: Context| {
            let at = At(seen.clone());
            async move {
                let _at = at;
                if cx.attempt() == 1 {
                    std::future::pending::<()>().await;
                }
                Ok(1)
            }
        })
        .queue("main", 1)
        .start()
        .unwrap();
    let begin = Instant::now();
    let job = reaches(&memory, id, State::Completed).await;
    let ran = ended.lock().unwrap().unwrap() - begin;
    assert!(ran > 20 * SECOND && ran < 30 * SECOND, "the first handler ran for {ran:?}");
    // The store took the job back only when the lease had run out: a crash, as it knows no better.
    assert_eq!((job.attempt, job.crashes), (2, 1));
    let registered = registered.lock().unwrap().clone();
    assert_eq!(registered.len(), 2);
    assert_ne!(registered[0], registered[1]);
    assert_eq!(worker.id(), Some(registered[1]));
    assert_eq!((worker.stats().lost, worker.stats().completed), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_heartbeats_fail_fences_itself_and_comes_back_under_a_fresh_id() {
    fences_itself(lost_reply).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_heartbeats_hang_fences_itself_and_comes_back_under_a_fresh_id() {
    fences_itself(hangs).await;
}

/// F6: an expired lease never revives.
#[tokio::test(start_paused = true)]
async fn f6_an_expired_worker_ends_its_handlers_and_registers_under_a_fresh_id() {
    let (memory, calls) = faults();
    let client = calls.over(&memory);
    let id = insert(&memory, Alpha(1)).await;
    let causes = Arc::new(Mutex::new(Vec::new()));
    let seen = causes.clone();
    let worker = simulated(&client)
        .register(move |_: Alpha, cx: Context| {
            let seen = seen.clone();
            async move {
                if cx.attempt() == 1 {
                    let token = cx.cancellation().clone();
                    tokio::spawn(async move {
                        token.cancelled().await;
                        seen.lock().unwrap().push(cx.cancel_cause());
                    });
                    std::future::pending::<()>().await;
                }
                Ok(1)
            }
        })
        .queue("main", 1)
        .start()
        .unwrap();
    reaches(&memory, id, State::Running).await;
    let first = worker.id().unwrap();
    memory.deregister(first).await.unwrap();
    let job = reaches(&memory, id, State::Completed).await;
    assert_eq!(job.attempt, 2);
    assert!(worker.id().is_some_and(|id| id != first));
    assert_eq!(*causes.lock().unwrap(), [Some(CancelCause::LeaseLost)]);
}

/// Outcomes that wait when the lease is lost go with it: what they say is not this worker's to say any more.
#[tokio::test(start_paused = true)]
async fn settlements_of_an_expired_worker_are_dropped() {
    let (memory, mut calls) = faults();
    let down = Arc::new(AtomicBool::new(true));
    let sent = Arc::new(Mutex::new(Vec::new()));
    let (m, off, log) = (memory.clone(), down.clone(), sent.clone());
    calls.expect_settle().returning(move |all| {
        if off.load(Ordering::SeqCst) {
            return Err(lost_reply());
        }
        log.lock().unwrap().extend(all.iter().map(|s| s.key.epoch));
        now(m.settle(all))
    });
    let client = calls.over(&memory);
    let id = insert(&memory, Alpha(1)).await;
    let runs = Count::default();
    let worker = counting(&client, &runs).start().unwrap();
    until("it ran", || async { runs.get() == 1 }).await;
    let first = worker.id().unwrap();
    memory.deregister(first).await.unwrap();
    until("a new incarnation", || async { worker.id().is_some_and(|id| id != first) }).await;
    down.store(false, Ordering::SeqCst);
    let job = reaches(&memory, id, State::Completed).await;
    assert_eq!((job.attempt, runs.get(), worker.stats().lost), (2, 2, 1));
    assert_eq!(*sent.lock().unwrap(), [job.epoch]);
}

/// Notes that the store refuses don't take the result with them.
#[tokio::test(start_paused = true)]
async fn a_completion_with_too_many_lines_still_completes() {
    let mut limits = Limits::default();
    limits.events_per_job = 2;
    let memory = MemoryBackend::with_limits(limits);
    let client = Client::new(Arc::new(memory.clone()));
    let id = insert(&memory, Alpha(1)).await;
    let _worker = simulated(&client)
        .register(|job: Alpha, cx: Context| async move {
            (0..5).for_each(|n| cx.log(LogLevel::Info, format!("line {n}")));
            Ok(job.0)
        })
        .queue("main", 1)
        .start()
        .unwrap();
    assert_eq!(reaches(&memory, id, State::Completed).await.attempt, 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_outcome_becomes_a_failed_attempt_that_says_why() {
    let (memory, calls) = faults();
    let client = calls.over(&memory);
    let id = insert_with(&memory, Alpha(1), |job| job.max_attempts = 2).await;
    let worker = simulated(&client)
        .register(|_: Alpha, _| async { Err(Stop::snooze(Duration::from_secs(1 << 40))) })
        .queue("main", 1)
        .start()
        .unwrap();
    let job = reaches(&memory, id, State::Discarded).await;
    assert_eq!(job.errors.len(), 2);
    assert!(job.errors[0].message.contains("refused"), "{}", job.errors[0].message);
    assert_eq!(worker.stats().running, 0);
}

/// F15: outcomes that can't be settled hold back claims instead of piling up.
#[tokio::test(start_paused = true)]
async fn f15_a_full_settle_buffer_stops_claiming() {
    let (memory, mut calls) = faults();
    let down = Arc::new(AtomicBool::new(true));
    let (m, off) = (memory.clone(), down.clone());
    calls.expect_settle().returning(move |all| {
        if off.load(Ordering::SeqCst) { Err(lost_reply()) } else { now(m.settle(all)) }
    });
    let client = calls.over(&memory);
    let runs = Count::default();
    let _worker = counting(&client, &runs).options(|o| o.settle_buffer = 1).start().unwrap();
    let mut ids = Vec::new();
    for n in 1..=2 {
        ids.push(insert(&memory, Alpha(n)).await);
        until("it ran", || async { runs.get() == n }).await;
    }
    // One is being settled, one fills the buffer; two of the four slots are free.
    ids.push(insert(&memory, Alpha(3)).await);
    sleep(60 * SECOND).await;
    assert_eq!((runs.get(), get(&memory, ids[2]).await.state), (2, State::Available));
    down.store(false, Ordering::SeqCst);
    for id in ids {
        reaches(&memory, id, State::Completed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_was_closed_ends_the_worker_with_an_error() {
    let (memory, mut calls) = faults();
    calls.expect_claim().returning(|_| Err(Error::Closed("double")));
    let client = calls.over(&memory);
    let begin = Instant::now();
    let end = counting(&client, &Count::default()).run().await;
    assert!(matches!(end, Err(Error::Closed(_))), "{end:?}");
    assert!(begin.elapsed() < 30 * SECOND);
}

/// A part of the worker that panics ends it with an error, and not in silence.
#[tokio::test(start_paused = true)]
async fn a_panic_inside_the_backend_ends_the_worker_with_an_error() {
    let (memory, mut calls) = faults();
    calls.expect_maintain().returning(|_| panic!("a broken backend"));
    let client = calls.over(&memory);
    let end = counting(&client, &Count::default()).run().await;
    let error = end.unwrap_err();
    assert!(error.to_string().contains("maintain"), "{error}");
}
