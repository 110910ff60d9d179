//! Every order in which threads can meet.

use windlass_interleavings::models;

#[test]
fn who_waits_hears_of_news_on_the_board() {
    models::news_are_heard_on_the_board();
}

#[test]
fn who_waits_hears_of_news_at_the_hub() {
    models::news_are_heard_at_the_hub();
}

#[test]
fn a_worker_overlooks_no_job_with_the_board() {
    models::no_job_is_overlooked_with_the_board(true);
}

#[test]
fn a_worker_overlooks_no_job_with_the_hub() {
    models::no_job_is_overlooked_with_the_hub();
}

#[test]
fn a_worker_overlooks_no_job_beside_another_kind_with_the_board() {
    models::no_job_is_overlooked_beside_another_kind_with_the_board();
}

#[test]
fn a_worker_overlooks_no_job_beside_another_kind_with_the_hub() {
    models::no_job_is_overlooked_beside_another_kind_with_the_hub();
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_claim_that_sees_for_others_would_overlook_one() {
    models::a_job_is_overlooked_when_claims_see_for_others();
}

/// The models find what they are there to find.
#[test]
#[should_panic(expected = "deadlock")]
fn a_version_that_is_read_too_late_would_overlook_one() {
    models::no_job_is_overlooked_with_the_board(false);
}

#[test]
fn who_watches_the_feed_is_served() {
    models::watchers_are_served();
}

#[test]
fn slots_are_passed_on_to_who_waits() {
    models::slots_are_passed_on();
}

#[test]
fn who_waits_for_room_hears_of_it() {
    models::room_is_heard_of();
}

#[test]
fn who_waits_for_a_slot_hears_of_more() {
    models::more_slots_are_heard_of();
}

#[test]
fn callers_that_go_together_are_each_answered() {
    models::callers_are_answered(1);
}

#[test]
fn callers_that_go_side_by_side_are_each_answered() {
    models::callers_are_answered(2);
}

#[test]
fn a_caller_may_go_away() {
    models::callers_may_go_away();
}

#[test]
fn a_claim_that_is_sent_again_waits_for_the_first() {
    models::claims_wait_for_each_other();
}

#[test]
fn the_host_writes_each_note_once() {
    models::the_host_writes_notes_once(false);
}

#[test]
#[should_panic(expected = "written once")]
fn notes_that_the_host_takes_too_early_would_be_written_twice() {
    models::the_host_writes_notes_once(true);
}

#[test]
fn the_host_loses_no_notes_of_a_record_that_fails() {
    models::the_host_loses_no_notes();
}

#[test]
fn notes_are_gathered_after_a_completion_that_fails() {
    models::notes_are_gathered_after_a_completion_that_fails();
}

#[test]
fn a_job_that_the_host_completes_is_not_lost() {
    models::a_job_that_the_host_completes_is_not_lost();
}

#[test]
fn a_round_that_is_asked_for_is_somebodys() {
    models::a_round_that_is_asked_for_is_somebodys();
}

#[test]
fn a_round_that_becomes_due_is_somebodys() {
    models::a_round_that_becomes_due_is_somebodys();
}

#[test]
fn a_round_that_is_asked_for_in_mid_round_comes_after_it() {
    models::a_round_that_is_asked_for_in_mid_round_comes_after_it();
}
