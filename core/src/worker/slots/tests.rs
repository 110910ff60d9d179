//! Slots, taken and given back in every order.

use super::*;

fn name(text: &str) -> QueueName {
    QueueName::new(text).unwrap()
}

fn asked(demand: &Demand, queue: &str) -> u32 {
    demand.queues.iter().find(|q| q.queue == name(queue)).map_or(0, |q| q.limit)
}

fn slots(queues: &[(QueueName, u32)], kinds: Vec<(Kind, Option<u32>, bool)>) -> Slots {
    Slots::new(queues, kinds, Duration::from_millis(20))
}

#[test]
fn a_claim_asks_for_no_more_than_the_free_slots_of_queue_and_kind() {
    let kind = Kind::new("k").unwrap();
    let queues = [(name("a"), 2), (name("b"), 1)];
    let slots = slots(&queues, vec![(kind.clone(), Some(2), false)]);
    assert!(!slots.demand(0).short);
    let b = slots.enter(&name("b"), &kind);
    let demand = slots.demand(0);
    assert_eq!((asked(&demand, "a"), asked(&demand, "b")), (2, 0));
    assert_eq!(demand.kinds[0].limit, Some(1));
    assert!(demand.short);
    let _a = slots.enter(&name("a"), &kind);
    assert!(slots.demand(0).is_empty());
    drop(b);
    assert_eq!(asked(&slots.demand(0), "b"), 1);
}

#[tokio::test(start_paused = true)]
async fn slots_are_passed_on_in_order_and_not_to_those_who_gave_up() {
    let (kind, a) = (Kind::new("k").unwrap(), name("a"));
    let slots = slots(&[(a.clone(), 1)], vec![(kind.clone(), None, false)]);
    let [first, mut second, third, mut fourth] = [(); 4].map(|()| slots.enter(&a, &kind));
    assert!(first.is_granted() && !second.is_granted());
    drop(third);
    drop(first);
    second.granted().await;
    let early = tokio::time::timeout(Duration::from_secs(1), fourth.granted()).await;
    assert!(early.is_err(), "one at a time");
    drop(second);
    fourth.granted().await;
    // A slot that was passed on and not taken notice of is passed on again.
    let [fifth, mut sixth] = [(); 2].map(|()| slots.enter(&a, &kind));
    drop(fourth);
    drop(fifth);
    sixth.granted().await;
    drop(sixth);
    assert_eq!(asked(&slots.demand(0), "a"), 1, "nothing is counted still");
}

#[tokio::test(start_paused = true)]
async fn as_many_as_ran_of_late_are_claimed_ahead_in_good_portions() {
    let (kind, a) = (Kind::new("k").unwrap(), name("a"));
    let slots = slots(&[(a.clone(), 2)], vec![(kind.clone(), None, false)]);
    let run = async |jobs: u32, time: Duration| {
        for _ in 0..jobs {
            let place = slots.enter(&a, &kind);
            tokio::time::sleep(time / jobs).await;
            drop(place);
        }
    };
    run(100, Duration::from_secs(10)).await;
    assert_eq!(asked(&slots.demand(0), "a"), 2, "long ones are not claimed ahead");
    run(1_000, Duration::from_secs(2)).await;
    assert_eq!(asked(&slots.demand(0), "a"), 2 + 10);
    let mut places: Vec<_> = (0..2 + 10).map(|_| slots.enter(&a, &kind)).collect();
    for waiting in (6..=10).rev() {
        assert!(!slots.has_room(0), "{waiting}");
        places.remove(0);
    }
    assert_eq!(asked(&slots.demand(0), "a"), 5);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(asked(&slots.demand(0), "a"), 0, "nothing ends any more");
    drop(places);
    assert_eq!(asked(&slots.demand(0), "a"), 2);
    // However many.
    for _ in 0..100 {
        drop((0..100).map(|_| slots.enter(&a, &kind)).collect::<Vec<_>>());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(asked(&slots.demand(0), "a"), 2 + AHEAD);
    assert_eq!(
        asked(&Slots::new(&[(a, 2)], [(kind, None, false)], Duration::ZERO).demand(0), "a"),
        2
    );
}

#[test]
fn blocking_kinds_are_bounded_by_the_free_threads() {
    let kind = Kind::new("k").unwrap();
    let slots = slots(&[(name("a"), 9)], vec![(kind, None, true)]);
    assert_eq!(slots.demand(3).kinds[0].limit, Some(3));
    assert!(slots.demand(0).is_empty());
}

#[test]
fn blocking_kinds_share_the_free_threads_in_turn() {
    let kinds = ["k", "l", "m"].map(|text| Kind::new(text).unwrap());
    let limits = [None, Some(1), None];
    let each = kinds.iter().cloned().zip(limits).map(|(kind, limit)| (kind, limit, true));
    let slots = slots(&[(name("a"), 9)], each.collect());
    let given = |demand: &Demand| -> Vec<u32> {
        let of = |kind: &Kind| demand.kinds.iter().find(|slots| slots.kind == *kind);
        kinds.iter().map(|kind| of(kind).map_or(0, |slots| slots.limit.unwrap())).collect()
    };
    assert_eq!(given(&slots.demand(8)), [4, 1, 3]);
    let firsts: Vec<_> = (0..3)
        .map(|_| {
            slots.turn();
            given(&slots.demand(1)).iter().position(|n| *n == 1).unwrap()
        })
        .collect();
    assert_eq!(firsts, [1, 2, 0]);
    assert!(slots.has_room(1) && !slots.has_room(0) && slots.demand(0).is_empty());
}

#[test]
fn queues_come_first_in_turn() {
    let kind = (Kind::new("k").unwrap(), None, false);
    let slots = slots(&[(name("a"), 1), (name("b"), 1)], vec![kind]);
    let first = || slots.demand(0).queues[0].queue.clone();
    assert_eq!((first(), first()), (name("a"), name("a")));
    slots.turn();
    assert_eq!(first(), name("b"));
}

#[test]
fn settings_resize_a_queue_and_their_removal_restores_it() {
    let slots = slots(&[(name("a"), 2)], vec![(Kind::new("k").unwrap(), None, false)]);
    let mut setting = QueueSettings::new(name("a"));
    setting.concurrency = Some(5);
    slots.resize(&[setting]);
    assert_eq!(asked(&slots.demand(0), "a"), 5);
    slots.resize(&[]);
    assert_eq!(asked(&slots.demand(0), "a"), 2);
}
