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
        "redis+sentinel://app:hunter2@a,b",
        "redis+sentinel://app:hunter2@a,b:hunter2/jobs",
        "redis+sentinel://app:hunter2@a,b/jobs/hunter2",
        "redis+sentinel://app:hunter2@a,b/hunter2%20",
        "redis+sentinel://app:hunter2@,b/jobs?sentinel_password=hunter2",
        "redis+cluster://app:hunter2@a,b/1?namespace=jobs",
        "redis+cluster://app:hunter2@a,hunter2:x",
        "redis+cluster://a?sentinel_password=hunter2",
        "redis+unix://hunter2@host/run/redis.sock",
        "redis+unix:///run/redis.sock?db=hunter2",
        "redis+hunter2://db",
        "redis://app:hunter2@db?wait_replicas=hunter2",
        "redis://app:hunter2@db?wait_timeout=hunter2",
        "redis://app:hunter2@db?connect_timeout=hunter2",
        "redis://app:hunter2@db?response_timeout=0s",
        "redis://app:hunter2@db?wait_replicas=1&wait_timeout=30s",
        "redis://app:hunter2@db?wait_on_disk=hunter2",
        "redis://app:hunter2@db?ca=/hunter2",
        "rediss://app:hunter2@db?ca=/dev/null",
    ];
    for url in bad {
        let error = RedisOptions::from_url(url).unwrap_err();
        assert!(matches!(error, Error::Config(_)), "{error}");
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
    let good = [
        "redis://app:hunter2@db/0",
        "redis+sentinel://app:hunter2@a,b/jobs?sentinel_password=hunter2",
        "redis+cluster://app:hunter2@a,b",
        "redis+unix:///run/redis.sock?pass=hunter2",
    ];
    for url in good {
        let options = RedisOptions::from_url(url).unwrap();
        assert!(!format!("{options:?}").contains("hunter2"), "{options:?}");
    }
}

#[test]
fn a_url_of_sentinels_is_read() {
    let url = "redis+sentinel://app:s%40crét@a,b:7001,[::1],[::1]:7002/main-1/3?namespace=jobs&sentinel_username=watch&sentinel_password=two";
    let options = RedisOptions::from_url(url).unwrap();
    let Nodes::Sentinel { service, sentinels } = &options.nodes else { panic!("{options:?}") };
    assert_eq!((service.as_str(), options.namespace_name()), ("main-1", "jobs"));
    let places: Vec<_> = sentinels.iter().map(place).collect();
    assert_eq!(places, ["a:26379", "b:7001", "::1:26379", "::1:7002"]);
    let own = sentinels[3].redis_settings();
    assert_eq!((own.username(), own.password(), own.db()), (Some("watch"), Some("two"), 0));
    let servers = options.connect.redis_settings();
    assert_eq!((servers.username(), servers.password()), (Some("app"), Some("s@crét")));
    assert_eq!(servers.db(), 3);
    // The login of the servers is not shown to Sentinels that want none.
    let options = RedisOptions::from_url("redis+sentinel://app:secret@a/main").unwrap();
    let Nodes::Sentinel { sentinels, .. } = &options.nodes else { panic!("{options:?}") };
    assert_eq!(sentinels[0].redis_settings().password(), None);
}

#[test]
fn urls_of_clusters_and_sockets_are_read() {
    let options =
        RedisOptions::from_url("redis+cluster://app:secret@a,b:7001/?wait_replicas=2").unwrap();
    let Nodes::Cluster { seeds } = &options.nodes else { panic!("{options:?}") };
    assert_eq!(seeds.iter().map(place).collect::<Vec<_>>(), ["a:6379", "b:7001"]);
    assert!(seeds.iter().all(|seed| seed.redis_settings().password() == Some("secret")));
    let second = Duration::from_secs(1);
    assert_eq!(options.copies, Copies { replicas: 2, timeout: second, on_disk: false });

    let url = "redis+unix:///run/redis.sock?db=2&user=app&pass=secret&namespace=jobs&wait_on_disk=on&wait_timeout=250ms";
    let options = RedisOptions::from_url(url).unwrap();
    assert_eq!(place(&options.connect), "/run/redis.sock");
    let redis = options.connect.redis_settings();
    assert_eq!((redis.db(), redis.username(), redis.password()), (2, Some("app"), Some("secret")));
    let quarter = Duration::from_millis(250);
    assert_eq!(options.copies, Copies { replicas: 0, timeout: quarter, on_disk: true });
}

#[cfg(not(feature = "tls"))]
#[test]
fn a_build_without_tls_says_so() {
    for url in ["rediss://db", "rediss+sentinel://a/main", "rediss+cluster://a"] {
        let error = RedisOptions::from_url(url).unwrap_err().to_string();
        assert!(error.contains("cargo feature `tls`"), "{error}");
    }
}

#[cfg(feature = "tls")]
#[test]
fn nodes_are_reached_by_tls_when_the_url_asks_for_it() {
    let tls = |info: &ConnectionInfo| {
        matches!(info.addr(), ConnectionAddr::TcpTls { insecure: false, .. })
    };
    let options = RedisOptions::from_url("rediss+sentinel://a,b/main").unwrap();
    let Nodes::Sentinel { sentinels, .. } = &options.nodes else { panic!("{options:?}") };
    assert!(sentinels.iter().all(tls) && tls(&options.connect));
    let options = RedisOptions::from_url("rediss+cluster://a,b").unwrap();
    assert!(tls(&options.connect));
    let error = RedisOptions::from_url("redis://db").unwrap();
    let error = error.ca_certificate("-----BEGIN CERTIFICATE-----").unwrap_err().to_string();
    assert!(error.contains("not reached by TLS"), "{error}");
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

#[test]
fn a_url_tells_how_long_to_wait() {
    let url =
        "redis://db?wait_replicas=1&wait_timeout=40s&response_timeout=50s&connect_timeout=250ms";
    let options = RedisOptions::from_url(url).unwrap();
    assert_eq!(options.connect_timeout, Duration::from_millis(250));
    assert_eq!(options.response_timeout, Duration::from_secs(50));
}
