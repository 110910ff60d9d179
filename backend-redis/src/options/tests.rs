use super::*;

#[test]
fn a_url_is_read() {
    let options = RedisOptions::from_url(
        "redis://app:hunter2@db.example:6390/3?namespace=jobs&listen=off&durability=always",
    )
    .unwrap();
    assert_eq!(place(&options.connect), "db.example:6390");
    assert_eq!((options.namespace_name(), options.listen), ("jobs", false));
    assert_eq!(options.durability, Durability::Always);
    let redis = options.connect.redis_settings();
    assert_eq!((redis.db(), redis.username(), redis.password()), (3, Some("app"), Some("hunter2")));
}

/// F52: neither errors nor the debug form show a password, wherever it ended up.
#[test]
fn f52_no_error_shows_a_password() {
    let bad = [
        "redis://app:hunter2@/0",
        "redis://app:hun#hunter2@db/0",
        "redis://app:hunter2@db/0?hunter2=1",
        "redis://app:hunter2@db/0?listen=hunter2",
        "redis://app:hunter2@db/0?durability=hunter2",
        "redis://app:hunter2@db/0?namespace=hunter2!",
        "redis://app:hunter2@db/hunter2",
        "redis://app:hunter2/0@db",
        "redis://app:hunter2@db:hunter2/0",
        "postgres://app:hunter2@db/0",
        "hunter2",
    ];
    for url in bad {
        let error = RedisOptions::from_url(url).unwrap_err();
        assert!(matches!(error, Error::Config(_)), "{error}");
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
    let options = RedisOptions::from_url("redis://app:hunter2@db/0").unwrap();
    assert!(!format!("{options:?}").contains("hunter2"), "{options:?}");
}

#[test]
fn namespaces_are_plain() {
    let options = || RedisOptions::from_url("redis://db").unwrap();
    for good in ["a", "my_app.jobs-2"] {
        assert!(options().namespace(good).is_ok());
    }
    for bad in ["", "a b", "{a}", "a:b", "ä", &"x".repeat(65)] {
        assert!(options().namespace(bad).is_err(), "{bad:?}");
    }
}
