//! The list of all cases, and the macros that turn it into tests.

/// Generates one test per case of the conformance suite for a [`Harness`](crate::conformance::Harness).
///
/// `conformance!(MyHarness)`, or with cases left out for a stated reason:
/// `conformance!(MyHarness, skip: { module::case => "reason" })`. Those appear as ignored tests.
#[macro_export]
macro_rules! conformance {
    ($harness:ty $(, skip: { $($module:ident :: $case:ident => $reason:literal),* $(,)? })? $(,)?) => {
        $crate::__conformance_tests!(
            ($) __conformance_cases run $harness, [$($([$module $case $reason])*)?]
        );
    };
}

/// Generates the tests of the host-transaction cases for a [`TransactionalHarness`](crate::conformance::TransactionalHarness).
#[macro_export]
macro_rules! conformance_transactional {
    ($harness:ty $(, skip: { $($module:ident :: $case:ident => $reason:literal),* $(,)? })? $(,)?) => {
        $crate::__conformance_tests!(
            ($) __conformance_transactional_cases run $harness, [$($([$module $case $reason])*)?]
        );
    };
}

/// Generates the tests of the outbox cases for a [`TransactionalHarness`](crate::conformance::TransactionalHarness) whose
/// backend is an [`OutboxStore`](crate::outbox::OutboxStore).
#[macro_export]
macro_rules! conformance_outbox {
    ($harness:ty $(, skip: { $($module:ident :: $case:ident => $reason:literal),* $(,)? })? $(,)?) => {
        $crate::__conformance_tests!(
            ($) __conformance_outbox_cases run $harness, [$($([$module $case $reason])*)?]
        );
    };
}

/// Generates the tests of the storage cases for a [`StorageHarness`](crate::conformance::StorageHarness).
#[macro_export]
macro_rules! conformance_storage {
    ($harness:ty $(, skip: { $($module:ident :: $case:ident => $reason:literal),* $(,)? })? $(,)?) => {
        $crate::__conformance_tests!(
            ($) __conformance_storage_cases run_storage $harness, [$($([$module $case $reason])*)?]
        );
    };
}

// `macro_rules` can't compare identifiers, but the rules of a macro can: each skipped case becomes a rule of
// its own, in front of the general one. `$d` is a dollar sign for the macros made here.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    (($d:tt) $list:ident $run:ident $harness:ty, [$([$module:ident $case:ident $reason:literal])*]) => {
        macro_rules! __windlass_case {
            $(
                ($module $case) => {
                    #[test]
                    #[ignore = $reason]
                    fn $case() {
                        $crate::conformance::$run($crate::conformance::cases::$module::$case::<$harness>);
                    }
                };
            )*
            ($d module:ident $d case:ident) => {
                #[test]
                fn $d case() {
                    $crate::conformance::$run(
                        $crate::conformance::cases::$d module::$d case::<$harness>,
                    );
                }
            };
        }
        macro_rules! __windlass_cases {
            ($d($d module:ident { $d($d case:ident)* })*) => {
                $d(
                    mod $d module {
                        #[allow(unused_imports)]
                        use super::*;
                        $d(__windlass_case!($d module $d case);)*
                    }
                )*
            };
        }
        $crate::$list!(__windlass_cases);
        // A skip that names no case does not compile.
        $(const _: () = { let _ = $crate::conformance::cases::$module::$case::<$harness>; };)*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_cases {
    ($then:ident) => {
        $then! {
            backend {
                it_answers_pings
                it_brings_a_storage_of_its_own
                other_handles_see_the_same_blobs
                calls_after_the_end_say_that_it_is_closed
                closing_again_is_no_error
                closing_ends_waits
            }
            batch_insert {
                answers_stand_in_the_order_of_the_jobs
                f21_a_duplicate_does_not_fail_the_others
                the_same_id_twice_in_one_call_is_one_job
                one_invalid_job_stops_the_whole_call
                a_call_above_the_limit_writes_nothing
                a_batch_is_claimable_as_a_whole
                a_batch_may_mix_queues_kinds_and_starts
            }
            blobs {
                blobs_of_living_jobs_stay
                blobs_of_pruned_jobs_are_named
                blobs_of_deleted_jobs_are_named
                they_are_named_until_confirmed
                a_shared_blob_stays_until_the_last_job_is_gone
                blobs_of_the_result_live_with_the_job
                a_staged_blob_that_no_job_took_is_named
                a_job_takes_over_what_was_staged
                a_key_staged_again_stays_in_the_account
                a_duplicate_takes_over_nothing
                a_replacement_exchanges_the_blobs
                a_named_blob_may_be_referred_to_again
                follow_ups_own_their_blobs
                a_retry_lets_go_of_the_result
                a_named_blob_may_be_staged_again
                only_what_was_named_since_is_confirmed
                of_two_stagings_the_later_end_counts
                a_staged_blob_of_a_living_job_stays
            }
            bystanders {
                f19_insert_and_claim
                f19_settle
                f19_record_append_and_heartbeat
                f19_changes_by_id
                f19_changes_by_filter
                f19_maintenance
                f19_pruning
                f19_workers
                f19_queue_settings
                f19_reading
            }
            cancel {
                waiting_jobs_end_at_once
                f13_heartbeats_bring_the_request
                a_success_stays_a_success
                every_other_outcome_becomes_cancelled
                snooze_and_release_become_cancelled
                a_lost_worker_ends_the_job_cancelled
                a_second_request_changes_nothing
                final_jobs_stay_as_they_are
                the_history_tells_of_the_request_and_its_reason
                a_retried_job_is_not_cancelled_again
                only_the_owner_is_asked
                the_history_of_a_waiting_job_tells_the_reason
            }
            change {
                a_filter_changes_what_passes_and_nothing_else
                unknown_ids_are_passed_over
                jobs_it_does_not_apply_to_are_not_counted
                a_filter_is_worked_through_in_pages
                jobs_that_stay_do_not_stop_the_walk
                oldest_jobs_come_first
                too_many_ids_are_an_error
                the_same_id_twice_counts_once
                a_state_filter_sees_each_job_once
            }
            claim {
                a_claimed_job_runs_under_its_worker_and_claim
                f10_the_attempt_counts_at_the_claim
                a_lease_has_all_that_a_handler_needs
                a_running_job_is_not_claimed_again
                only_available_jobs_are_claimed
                a_claim_gives_no_more_than_the_queue_limit
                a_queue_without_room_hides_no_other
                each_queue_has_its_own_limit
                jobs_of_one_claim_share_its_claim_id_and_of_two_do_not
                a_claim_of_no_queues_or_kinds_gives_nothing
            }
            claim_kinds {
                only_the_kinds_asked_for_are_claimed
                f09_unknown_kinds_in_front_stay_untouched
                f31_future_jobs_of_high_priority_hide_nothing
                a_kind_limit_holds_over_all_queues
                a_full_kind_leaves_the_slots_to_others
                kind_limits_hold_side_by_side
                a_limited_kind_comes_in_order
            }
            claim_order {
                lower_priority_runs_first
                equal_priority_runs_in_the_order_of_insertion
                jobs_given_back_queue_up_behind_those_that_waited
                f29_the_clocks_of_clients_play_no_part
                a_priority_comes_before_the_time_of_waiting
                due_jobs_become_available_in_the_order_of_their_time
                a_job_hurried_up_queues_behind_those_that_waited
                queues_are_served_in_the_order_of_the_request
                kinds_do_not_change_the_order
            }
            concurrency {
                f16_f17_no_job_is_lost_or_claimed_twice
                f17_one_of_many_settlements_is_applied
                everything_at_once_comes_to_an_end
                due_jobs_are_promoted_once
                dropped_calls_are_whole_or_nothing
                a_cancel_and_a_claim_agree
                repeated_inserts_of_one_job_add_it_once
            }
            deadline {
                f12_hanging_attempts_are_taken_away
            }
            delete {
                jobs_that_do_not_run_are_removed
                a_running_job_stays
                its_last_owner_finds_it_gone
                the_feed_tells
                the_counts_forget_it
            }
            depth {
                a_full_queue_refuses_the_whole_call
                one_call_may_not_jump_over_the_maximum
                the_error_tells_the_depth_and_may_pass
                jobs_that_wait_count
                running_and_final_jobs_do_not_count
                duplicates_need_no_room
                replacements_need_no_room
                jobs_inside_go_their_way
                concurrent_inserts_do_not_pass_the_maximum
            }
            feed {
                it_holds_the_events_of_all_jobs_in_order
                a_mixed_batch_is_told_as_the_history_says
                it_is_read_in_pages_of_any_size
                filters_find_what_matches
                the_position_moves_though_nothing_passes
                the_tail_is_where_news_begins
                an_empty_feed_can_be_followed
                what_changes_nothing_is_not_told
                a_follower_misses_nothing
                a_reader_left_behind_is_told_of_the_gap
                a_feed_that_was_pruned_whole_still_has_an_end
                recent_entries_stay
            }
            fence {
                f01_settle_with_a_wrong_epoch_is_lost
                f01_settle_with_a_wrong_claim_id_is_lost
                f01_settle_changes_only_the_job_it_names
                settle_of_an_unknown_job_is_lost
                f01_settle_with_the_claim_of_another_job_is_lost
                f01_settle_does_not_change_a_final_job
                f01_settle_after_giving_the_job_back_is_lost
                f01_a_stale_holder_cannot_finish_a_newer_attempt
                f01_a_stale_holder_cannot_finish_a_job_that_a_user_retried
                record_with_a_wrong_epoch_is_lost
                record_with_a_wrong_claim_id_is_lost
                record_of_another_or_unknown_job_is_lost
                record_after_the_end_is_lost
                record_of_a_stale_holder_is_lost
                heartbeat_reports_keys_with_a_wrong_part_as_lost
                heartbeat_reports_ended_attempts_as_lost
                lost_settlements_do_not_keep_others_of_the_batch
                a_lost_settlement_frees_no_unique_key
            }
            filters {
                a_listing_finds_what_matches
                pages_of_a_filter_neither_miss_nor_repeat
                a_change_reaches_what_matches
                a_key_is_found_after_it_was_freed
            }
            follow_ups {
                they_are_there_when_the_job_is_complete
                a_duplicate_among_them_is_no_error
                a_follow_up_may_take_the_key_of_the_completed_job
                a_follow_up_may_take_the_key_though_the_lease_ran_out
                too_many_are_refused
                one_above_a_limit_refuses_the_settlement
                a_full_queue_takes_them_all_the_same
                a_refusal_keeps_no_other_settlement_of_the_batch
                only_a_completion_has_them
                they_come_though_a_cancel_was_requested
                follow_ups_of_many_settlements_come_in_order
            }
            heartbeat {
                a_heartbeat_extends_the_lease_by_its_full_length
                nothing_to_tell
                a_key_of_another_worker_is_lost
                rescued_jobs_are_lost
                jobs_the_worker_does_not_know_of_are_orphaned
                a_worker_is_told_its_newer_key
                a_heartbeat_changes_no_job
                thousands_of_keys_fit_in_one
                a_worker_past_its_lease_is_told_so
                those_of_several_workers_go_in_one_call
            }
            history {
                a_whole_life_is_told
                failures_are_told_where_they_led
                an_unknown_job_has_none
                it_is_read_in_pages
                a_position_survives_as_text
                jobs_of_one_batch_have_their_own
                only_the_first_and_the_latest_changes_are_kept
                it_outlives_the_feed
                every_way_through_is_consistent
            }
            idempotent_insert {
                a_repeated_insert_changes_nothing
                a_repeated_insert_does_not_disturb_a_running_job
                a_repeated_insert_does_not_run_a_finished_job_again
                a_repeated_insert_of_a_unique_job_is_a_duplicate_of_itself
                a_repeated_insert_takes_no_unique_key
                a_repeated_batch_inserts_only_what_is_missing
                the_id_of_a_deleted_job_is_free
            }
            insert {
                a_job_is_stored_as_given
                a_fresh_job_is_available_and_untouched
                a_job_is_claimable_as_soon_as_it_is_stored
                an_unknown_id_reads_as_none
                an_empty_insert_writes_nothing
                f49_args_are_stored_and_claimed_unread
                the_encoding_of_args_is_kept
                extreme_values_are_kept
                odd_text_is_only_text
                names_of_full_length_are_kept
                names_that_differ_only_in_case_differ
                jobs_are_due_when_inserted_by_the_clock_of_the_database
            }
            large {
                ten_thousand_jobs_go_through
                f38_thousands_may_fall_due_at_once
                f08_thousands_may_be_lost_at_once
                f31_thousands_of_unknown_kinds_hide_nothing
                thousands_are_changed_in_pages
                thousands_of_unique_jobs_meet_their_duplicates
            }
            limits {
                what_is_above_a_limit_is_named
                what_is_at_a_limit_is_taken
                values_that_make_no_sense_are_invalid
                f52_errors_hold_no_contents
                the_largest_args_are_kept
                the_backend_tells_its_limits
            }
            list {
                jobs_of_all_states_are_listed_in_both_orders
                newest_first_is_the_default
                pages_neither_miss_nor_repeat
                a_page_holds_as_many_as_there_are
                jobs_come_and_go_between_pages
                an_empty_store_has_an_empty_page
                a_page_of_nothing_or_too_much_is_an_error
                a_cursor_survives_as_text
                listing_and_reading_agree
            }
            lost_reply {
                a_resent_claim_gives_the_same_jobs
                a_resent_claim_that_never_arrived_claims
                a_resent_claim_gives_only_what_still_runs
                a_resent_claim_takes_no_more_while_it_has_some
                a_resent_claim_sees_no_jobs_of_other_claims
                a_resent_claim_does_not_revive_what_was_rescued
                a_resent_claim_of_an_ended_lease_is_refused
                a_repeated_end_is_already_there
                a_repeated_give_back_is_lost
                a_repeat_adds_neither_follow_ups_nor_notes
                a_repeat_does_not_replace_the_result
            }
            notes {
                notes_are_kept_as_given_and_in_order
                progress_shows_in_the_record
                records_of_many_jobs_go_in_one_call
                the_last_notes_come_with_the_settlement
                the_host_appends_to_any_job
                what_can_not_be_appended_is_an_error
                a_large_event_is_refused
                a_job_holds_so_many_notes_and_no_more
                notes_survive_retries_and_the_pruning_of_the_feed
                long_messages_are_cut
            }
            pause {
                a_paused_queue_gives_nothing
                a_queue_can_be_paused_before_its_first_job
                other_queues_of_the_claim_are_served
                a_running_job_of_a_paused_queue_goes_on
                due_jobs_of_a_paused_queue_become_available_and_stay
                the_quarantine_lane_is_paused_too
                a_claim_with_kind_limits_heeds_the_pause
            }
            quarantine {
                f10_a_poison_job_is_claimed_only_in_quarantine
                the_quarantine_lane_gives_nothing_else
                f10_a_poison_job_is_given_up
                quarantine_lasts_through_failures_and_delays
                ordinary_failures_do_not_lead_there
                an_explicit_retry_gives_a_fresh_budget
                one_poison_job_does_not_lead_its_neighbours_there
            }
            queue_settings {
                a_queue_without_settings_has_the_defaults
                what_is_set_is_read
                a_change_leaves_the_rest_as_it_is
                queues_are_set_one_by_one
                every_process_reads_the_same
                concurrent_changes_do_not_undo_each_other
            }
            reschedule {
                waiting_jobs_get_a_new_time
                a_job_may_be_moved_to_now
                a_moved_job_runs_at_its_new_time
                running_and_final_jobs_stay_as_they_are
                a_time_beyond_the_limit_is_an_error
            }
            rescue {
                maintenance_counts_the_workers_with_a_lease
                jobs_of_a_lost_worker_are_available_again
                an_expired_lease_makes_a_worker_lost
                f02_jobs_of_live_workers_are_left_alone
                f10_a_job_at_its_last_attempt_is_discarded
                f07_f08_many_lost_jobs_are_rescued_in_pages
                f09_a_rescue_is_blind_to_kinds
                f18_the_worker_goes_after_its_jobs
                a_rescue_happens_once
                only_running_jobs_are_rescued
                the_history_names_the_lost_worker
            }
            retention {
                each_final_state_has_its_own_time
                jobs_within_their_time_stay
                jobs_that_are_not_final_stay
                the_time_counts_from_the_finish
                oldest_finishes_go_first_and_by_the_limit
                the_history_goes_with_the_job
                a_retried_job_is_not_pruned
                a_stale_owner_of_a_pruned_job_has_lost_it
                a_window_ends_though_its_job_was_pruned
            }
            retry {
                waiting_jobs_are_due_at_once
                a_final_job_runs_again
                the_result_goes_and_the_errors_stay
                f51_a_retried_job_has_at_least_one_more_attempt
                available_and_running_jobs_stay_as_they_are
                a_job_cancelled_before_its_first_attempt_may_run_after_all
                a_completed_job_is_spared_on_request
            }
            settle_batch {
                mixed_outcomes_are_applied_and_answered_in_order
                each_result_goes_to_its_own_job
                each_failure_goes_to_its_own_job
                each_delay_goes_to_its_own_job
                the_same_job_twice_in_a_batch_is_settled_once
                an_empty_batch_is_nothing
                a_thousand_jobs_are_settled_in_one_call
                jobs_of_many_claims_and_workers_are_settled_in_one_call
            }
            settle_outcomes {
                completed_keeps_the_result
                completed_without_a_result_has_none
                discarded_keeps_the_failure
                cancelled_by_the_handler_keeps_the_reason
                f20_retry_waits_for_its_delay
                retry_without_delay_is_available_at_once
                each_failure_is_kept_with_its_attempt
                only_the_last_failures_are_kept
                long_messages_are_cut_at_a_character
                odd_messages_are_kept
                failures_survive_the_success
                progress_survives_a_retry
                the_delay_counts_from_the_settling
                a_result_above_the_limit_is_refused
                a_delay_above_the_limit_is_refused
            }
            snooze_release {
                a_snooze_gives_the_attempt_back
                a_snoozed_job_runs_after_its_time
                a_snooze_of_no_length_is_available_at_once
                f11_a_release_gives_the_attempt_back
                earlier_failures_still_count
            }
            start_time {
                a_delayed_job_waits
                a_due_job_becomes_available
                a_time_in_the_past_is_now
                a_time_to_come_is_kept
                no_delay_is_now
                the_least_delay_is_still_one
                f28_maintenance_leaves_long_delays_alone
                a_delay_above_the_limit_is_an_error
                promotion_is_bounded_and_says_that_there_is_more
                the_next_due_time_is_told
                only_due_jobs_are_promoted
            }
            stats {
                an_empty_store_counts_nothing
                counts_agree_with_the_jobs_at_every_step
                totals_per_state
                queues_can_be_chosen
                f12_ages_of_the_oldest
                availability_counts_from_the_due_time
                of_jobs_that_are_claimed_in_turn_the_next_one_counts
            }
            two_handles {
                a_job_crosses_from_one_to_the_other
                a_key_is_good_through_either
                one_rescues_what_the_other_lost
                a_pause_holds_for_both
                order_and_time_are_shared
                a_closed_handle_leaves_the_other_open
                a_later_handle_finds_everything
            }
            unique {
                a_held_key_names_its_holder
                reject_is_told_apart
                different_keys_do_not_meet
                a_key_may_be_held_by_an_earlier_job_of_the_call
                f23_of_concurrent_inserts_one_is_new
                f22_until_finished_lasts_to_the_end
                f22_a_cancelled_or_deleted_job_frees_its_key
                f22_a_rescued_job_keeps_its_key_and_a_given_up_one_frees_it
                until_started_is_free_at_the_claim
                until_started_is_not_freed_by_the_end_of_an_earlier_holder
                a_window_outlives_the_job
                a_window_ends_whatever_becomes_of_the_job
                a_passed_window_is_not_freed_again
                deleting_the_holder_ends_its_window
                pruning_leaves_a_window
                a_retried_job_takes_its_key_again
                a_job_whose_key_is_taken_is_not_retried
                a_job_whose_key_is_taken_is_not_retried_after_its_window
            }
            unique_lost {
                f22_a_lost_holder_is_rescued_before_it_refuses_another
                a_rejection_looks_first_as_well
                a_window_outlasts_a_holder_that_is_given_up
                a_job_that_holds_no_key_by_now_is_left_to_maintenance
                a_rescued_holder_may_be_replaced_in_another_queue
                a_job_that_is_known_rescues_nobody
                a_rescued_holder_takes_its_room
                what_is_refused_rescues_nobody
                a_follow_up_looks_first_as_well
                a_follow_up_may_want_the_key_of_another_settlement
                a_retry_looks_first_as_well
                a_job_that_a_retry_rescues_is_not_changed_by_it
                a_job_that_stays_completed_rescues_nobody
            }
            unique_replace {
                the_holder_takes_over_the_contents
                what_was_replaced_is_claimed_by_its_new_contents
                the_id_and_the_attempts_so_far_stay
                a_scheduled_holder_may_be_brought_forward
                a_running_holder_is_kept
                a_final_holder_is_kept
                a_free_key_gives_a_new_job
                an_earlier_job_of_the_call_is_replaced
                an_id_that_was_not_used_is_new_when_it_comes_again
                the_history_tells
            }
            wake {
                a_wait_ends_with_its_time
                an_insert_wakes
                an_insert_through_another_handle_wakes
                a_promotion_wakes
                a_release_wakes
                cancelling_a_running_job_wakes
                a_rescue_wakes
                a_resumed_queue_wakes
                changed_settings_wake
                every_waiter_wakes
                who_hears_misses_nothing_from_elsewhere
                a_dropped_wait_leaves_nothing_behind
                an_event_wakes_a_watcher
            }
            worker_lease {
                a_new_worker_gets_the_lease_it_asks_for
                workers_are_listed
                registering_again_extends_the_lease
                an_expired_worker_claims_nothing
                an_unknown_worker_claims_nothing
                an_expired_lease_is_not_revived
                an_unknown_worker_has_no_heartbeat
                an_expired_worker_may_still_settle_what_nobody_took
                expired_workers_are_listed_until_they_are_removed
                a_deregistered_worker_is_lost
                deregistering_again_or_a_stranger_is_no_error
                f06_workers_of_one_name_are_told_apart
                a_worker_may_register_while_others_come_and_go
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_transactional_cases {
    ($then:ident) => {
        $then! {
            transaction {
                a_commit_makes_jobs_and_rows_visible
                a_rollback_leaves_no_trace
                a_dropped_transaction_is_rolled_back
                f23_a_rollback_frees_the_unique_key
                many_inserts_in_one_transaction_see_each_other
                a_failed_insert_leaves_the_transaction_usable
                a_full_queue_leaves_the_transaction_usable
                a_completion_commits_with_the_rows
                a_completion_after_the_commit_is_already_there
                a_rolled_back_completion_leaves_the_job_running
                f01_a_stale_holder_is_told_to_roll_back
                a_refused_completion_leaves_the_transaction_usable
                a_retry_may_commit_with_the_rows
                an_enqueue_and_a_completion_share_a_transaction
                jobs_of_a_transaction_come_in_order
                the_history_of_a_transaction_is_seen_after_the_commit
                a_commit_wakes_waiters
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_outbox_cases {
    ($then:ident) => {
        $then! {
            outbox {
                an_entry_commits_with_the_rows
                a_rollback_leaves_no_entry
                posting_an_id_again_changes_nothing
                bodies_come_back_byte_by_byte
                a_taken_entry_is_given_to_nobody_else
                concurrent_takers_share_no_entry
                an_entry_comes_back_when_its_time_is_up
                a_delivered_entry_is_gone
                an_entry_put_back_is_given_again_after_its_delay
                a_refusal_is_kept_with_its_reason
                the_longest_free_are_given_first
                a_job_that_replaces_is_refused
                a_take_is_bounded_in_bytes
                the_age_is_that_of_the_oldest
                a_commit_wakes_a_relay
                an_empty_outbox_gives_no_hints
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_storage_cases {
    ($then:ident) => {
        $then! {
            storage_list {
                list_is_in_byte_order
                pages_follow_one_another
                a_prefix_is_any_text
                keys_come_back_as_they_went_in
            }
            storage_read {
                an_unknown_key_is_not_found
                head_get_and_list_tell_the_same
                delete_may_be_repeated_and_takes_nothing_else
                many_are_deleted_at_once
                an_open_read_never_mixes_two_blobs
                a_dropped_read_is_in_nobodys_way
                presign_gives_a_url_or_says_that_it_cannot
            }
            storage_write {
                put_answers_the_length_and_get_gives_the_bytes
                a_blob_of_zero_bytes_is_a_blob
                chunks_of_any_size_make_the_same_blob
                put_replaces_a_blob_whole
                a_failing_stream_leaves_no_blob
                a_failing_stream_keeps_the_old_blob
                a_dropped_put_leaves_no_blob
                a_dropped_put_keeps_the_old_blob
                nothing_is_seen_of_a_put_under_way
                of_puts_at_once_one_wins_whole
            }
        }
    };
}
