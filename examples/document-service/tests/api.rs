//! The running program over HTTP: on SQLite and a folder, on Postgres and an object store, and with jobs on Redis.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::expect_used, unreachable_pub, reason = "modules of a test")]

mod cases;
mod support;

macro_rules! on {
    ($place:ident, $open:expr, [$($case:ident)*]) => {
        mod $place {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    crate::cases::$case($open.await).await;
                }
            )*
        }
    };
}

macro_rules! everywhere {
    ($($case:ident)*) => {
        on!(sqlite_and_folder, crate::support::Place::local(), [$($case)*]);
        on!(postgres_and_s3, crate::support::Place::servers(), [$($case)*]);
        on!(jobs_on_redis, crate::support::Place::redis(), [$($case)*]);
    };
}

everywhere! {
    two_files_become_a_result
    tokens_are_needed_and_expire
    nothing_of_another_user_is_seen
    requests_that_fail_leave_no_files
    an_idempotency_key_gives_one_job
    a_step_that_fails_is_retried_and_then_given_up
    jobs_are_cancelled_and_retried
    a_job_whose_worker_was_killed_is_completed_by_another
    two_hundred_uploads_at_once_lose_nothing
    strange_files_are_taken_as_they_are
    events_are_caught_up_with_after_a_reconnect
    health_tells_what_is_down
    who_lost_its_place_among_the_events_is_told_to_start_anew
    a_stream_of_events_ends_with_its_token
    a_commit_that_fails_leaves_nothing
    a_file_that_breaks_off_leaves_no_parts
    a_job_that_can_not_be_read_hides_no_other
}

on!(a_folder, crate::support::Place::local(), [a_storage_that_fails_does_not_tell_where_it_is]);
