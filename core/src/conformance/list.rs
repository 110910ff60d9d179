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
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_transactional_cases {
    ($then:ident) => {
        $then! {}
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_storage_cases {
    ($then:ident) => {
        $then! {}
    };
}
