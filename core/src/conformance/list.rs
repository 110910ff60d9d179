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
            batch_insert {
                answers_stand_in_the_order_of_the_jobs
                f21_a_duplicate_does_not_fail_the_others
                the_same_id_twice_in_one_call_is_one_job
                one_invalid_job_stops_the_whole_call
                a_call_above_the_limit_writes_nothing
                a_batch_is_claimable_as_a_whole
                a_batch_may_mix_queues_kinds_and_starts
            }
            claim {
                a_claimed_job_runs_under_its_worker_and_claim
                f10_the_attempt_counts_at_the_claim
                a_lease_has_all_that_a_handler_needs
                a_running_job_is_not_claimed_again
                only_available_jobs_are_claimed
                a_claim_gives_no_more_than_the_queue_limit
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
                a_priority_comes_before_the_time_of_waiting
                due_jobs_become_available_in_the_order_of_their_time
                a_job_hurried_up_queues_behind_those_that_waited
                queues_are_served_in_the_order_of_the_request
                kinds_do_not_change_the_order
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
            follow_ups {
                they_are_there_when_the_job_is_complete
                a_duplicate_among_them_is_no_error
                a_follow_up_may_take_the_key_of_the_completed_job
                too_many_are_refused
                one_above_a_limit_refuses_the_settlement
                one_for_a_full_queue_refuses_the_settlement
                a_refusal_keeps_no_other_settlement_of_the_batch
                only_a_completion_has_them
                they_come_though_a_cancel_was_requested
                follow_ups_of_many_settlements_come_in_order
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
            lost_reply {
                a_resent_claim_gives_the_same_jobs
                a_resent_claim_that_never_arrived_claims
                a_resent_claim_gives_only_what_still_runs
                a_resent_claim_takes_no_more_while_it_has_some
                a_resent_claim_sees_no_jobs_of_other_claims
                a_resent_claim_does_not_revive_what_was_rescued
                a_repeated_end_is_already_there
                a_repeated_give_back_is_lost
                a_repeat_adds_neither_follow_ups_nor_notes
                a_repeat_does_not_replace_the_result
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
                a_retried_job_takes_its_key_again
                a_job_whose_key_is_taken_is_not_retried
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
                the_history_tells
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
macro_rules! __conformance_storage_cases {
    ($then:ident) => {
        $then! {
            blob_storage {
                what_is_put_is_got
                no_bytes_are_a_blob
                chunks_of_any_size_are_joined
                ten_mebibytes_are_streamed
                unknown_keys_are_not_found
                head_tells_key_length_and_time
                a_put_replaces
                a_failing_stream_leaves_nothing
                a_failing_stream_keeps_the_old_blob
                a_dropped_put_leaves_nothing
                a_dropped_put_keeps_the_old_blob
                a_put_under_way_is_not_seen
                a_reader_never_sees_two_versions
                deleted_blobs_are_gone
                deleting_again_is_no_error
                many_are_deleted_in_one_call
                a_listing_is_in_byte_order
                a_prefix_is_any_text
                a_listing_goes_on_after_a_key
                keys_of_every_form_are_kept
                concurrent_puts_leave_one_whole_blob
                a_reader_may_stop_half_way
                the_time_of_writing_moves_on
                presign_gives_a_url_or_says_that_it_cannot
            }
        }
    };
}
