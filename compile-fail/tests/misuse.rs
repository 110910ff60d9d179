//! What must not compile, and what is said about it.

/// What `#[derive(Job)]` and the worker say about bad input.
#[test]
fn f50_bad_input_is_told_where_it_stands_and_how_to_mend_it() {
    trybuild::TestCases::new().compile_fail("tests/derive/*.rs");
}

/// On Redis there is no transaction of the host's that a job could be enqueued or completed in, so the calls are not there.
#[test]
fn enqueuing_or_completing_in_a_transaction_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/redis/*.rs");
}
