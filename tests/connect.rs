//! `connect` chooses the backend by the URL, and says what it can't.

use windlass::{Error, Limits, connect, connect_with};

#[tokio::test]
async fn memory_is_always_there_and_new_each_time() {
    let client = connect("memory:").await.unwrap();
    client.ping().await.unwrap();
    assert_eq!(client.backend().name(), "memory");
    let mut limits = Limits::default();
    limits.batch = 7;
    let client = connect_with("memory://", limits).await.unwrap();
    assert_eq!(client.limits().batch, 7);
}

#[tokio::test]
async fn a_url_that_names_no_backend_of_this_build_is_told_without_its_secrets() {
    let cases = [
        ("jobs.db", "the database URL has no scheme"),
        ("", "the database URL has no scheme"),
        ("user-s3cret:s3cret@host", "the database URL has no scheme"),
        ("mysql://user:s3cret@host/jobs", "`mysql:` names no backend; this build knows `memory:`"),
        #[cfg(feature = "postgres")]
        ("postgres://user:s3cret@host/jobs?sslmode=s3cret", "sslmode"),
        #[cfg(not(feature = "postgres"))]
        ("postgres://user:s3cret@host/jobs", "enable the feature `postgres` of the crate"),
        #[cfg(feature = "redis")]
        ("redis://:s3cret@host/0?listen=s3cret", "`listen`"),
        #[cfg(feature = "redis")]
        ("redis+sentinel://:s3cret@host,host", "the service that Sentinel watches over"),
        #[cfg(feature = "redis")]
        ("redis+cluster://:s3cret@host,host/1", "a cluster has no database"),
        #[cfg(not(feature = "redis"))]
        ("redis+cluster://:s3cret@host,host", "enable the feature `redis` of the crate"),
        #[cfg(not(feature = "redis"))]
        ("redis://:s3cret@host", "enable the feature `redis` of the crate"),
        ("SQLITE:x.db", "schemes are written in lower case"),
        (r"C:\jobs.db", "a file is named with its scheme before it, as in `sqlite:"),
        ("jobs.db", "a file is named with its scheme before it, as in `sqlite:"),
        ("memory:s3cret", "nothing belongs behind `memory:`"),
        #[cfg(not(feature = "sqlite"))]
        ("sqlite:jobs.db", "`sqlite:` is not in this build: enable the feature `sqlite`"),
    ];
    for (url, expected) in cases {
        let error = connect(url).await.unwrap_err();
        assert!(matches!(error, Error::Config(_)), "{error:?}");
        let said = error.to_string();
        assert!(said.contains(expected), "{url}: {said}");
        assert!(!said.contains("s3cret"), "F52: {said}");
    }
}
