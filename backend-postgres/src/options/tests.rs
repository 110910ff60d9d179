use super::*;

fn from(url: &str) -> PostgresOptions {
    PostgresOptions::from_url(url).unwrap()
}

#[test]
fn urls_name_a_database_and_options() {
    let options = from(
        "postgresql://app:s%40crt@localhost:6432/shop?schema=jobs&connections=7&pooler=transaction&migrate=false&listen=off&application_name=a%20b",
    );
    assert_eq!((options.connect.get_host(), options.connect.get_port()), ("localhost", 6432));
    assert_eq!(options.connect.get_username(), "app");
    assert_eq!(options.connect.get_database(), Some("shop"));
    assert_eq!(options.connect.get_application_name(), Some("a b"));
    assert_eq!((options.schema_name(), options.connections), ("jobs", 7));
    assert!(options.pooled && !options.migrate && !options.hear && options.notify);
    let options = from("postgres:///shop?host=/var/run/postgresql&options[geqo]=off");
    assert!(!options.pooled && options.migrate && options.hear);
    assert_eq!(options.connect.get_options(), Some("-c geqo=off"));
}

#[test]
fn what_can_not_be_used_is_refused_by_name() {
    for (url, part) in [
        ("mysql://localhost/x", "must start with `postgres://`"),
        ("postgres://localhost:port/x", "the URL can't be read"),
        ("postgres://localhost/x?sslmode=maybe", "`sslmode`"),
        ("postgres://localhost/x?port=99999999", "`port`"),
        ("postgres://localhost/x?schema=Jobs", "schema"),
        ("postgres://localhost/x?schema=", "schema"),
        ("postgres://localhost/x?connections=1", "`connections`"),
        ("postgres://localhost/x?connections=many", "`connections`"),
        ("postgres://localhost/x?pooler=session", "`pooler`"),
        ("postgres://localhost/x?migrate=no", "`migrate`"),
        ("postgres://localhost/x?listen=true", "`listen`"),
        ("postgres://localhost/x?connect_timeout=5", "unknown parameter `connect_timeout`"),
        ("postgres://localhost/x#y", "`%23`"),
    ] {
        let error = PostgresOptions::from_url(url).unwrap_err();
        assert!(matches!(error, Error::Config(_)));
        assert!(error.to_string().contains(part), "{url}: {error}");
    }
}

/// Passwords with characters that mean something in a URL end up in odd places.
#[test]
fn no_error_and_no_debug_output_shows_a_password() {
    let bad = [
        "postgres://app:hunter2@localhost:port/x",
        "postgres://app:hunter2?x@localhost/x",
        "postgres://app:a?hunter2@localhost/x",
        "postgres://app:a?hunter2=1@localhost/x",
        "postgres://app:a?b&hunter2&c@localhost/x",
        "postgres://app:a#hunter2@localhost/x",
        "postgres://app:hunter2@localhost/x?sslmode=hunter2",
        "postgres://app:hunter2@localhost/x?password=hunter2&port=hunter2",
        "postgres://app:hunter2@localhost/x?connections=hunter2",
        "postgres://app:hunter2@localhost/x?schema=hunter2-",
        "postgres:/app:hunter2@localhost/x",
    ];
    for url in bad {
        let error = PostgresOptions::from_url(url).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{url}: {error}");
    }
    let options = from("postgres://app:hunter2@localhost/x");
    let options = options.direct_url("postgres://app:hunter2@localhost:1/x").unwrap();
    assert!(!format!("{options:?} {options:#?}").contains("hunter2"));
}

#[cfg(feature = "tls")]
#[test]
fn hosts_elsewhere_are_verified_unless_told_otherwise() {
    use sqlx::postgres::PgSslMode::{Prefer, Require, VerifyFull};
    for (url, mode) in [
        ("postgres://db.example/x", VerifyFull),
        ("postgres://192.0.2.7/x", VerifyFull),
        ("postgres://db.example/x?sslmode=require", Require),
        ("postgres://db.example/x?sslmode=prefer", Prefer),
        ("postgres://localhost/x", Prefer),
        ("postgres://127.0.0.9/x", Prefer),
        ("postgres://[::1]/x", Prefer),
        ("postgres:///x?host=/run/postgresql", Prefer),
        ("postgres:///x?host=db.example", VerifyFull),
    ] {
        let options = from(url);
        let found = options.connect.get_ssl_mode();
        assert_eq!(format!("{found:?}"), format!("{mode:?}"), "{url}");
        let options = from("postgres://localhost/x").direct_url(url).unwrap();
        let found = options.direct.unwrap().get_ssl_mode();
        assert_eq!(format!("{found:?}"), format!("{mode:?}"), "{url}");
    }
}

#[cfg(not(feature = "tls"))]
#[test]
fn encryption_that_is_asked_for_needs_the_feature() {
    for mode in ["require", "verify-ca", "verify-full"] {
        let error = PostgresOptions::from_url(&format!("postgres://localhost/x?sslmode={mode}"));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("cargo feature `tls`"), "{error}");
    }
    from("postgres://db.example/x?sslmode=prefer");
    from("postgres://db.example/x");
}

#[test]
fn a_direct_url_only_says_how_to_connect() {
    let options = from("postgres://pooler.example/x?pooler=transaction");
    let direct = options.clone().direct_url("postgres://localhost/x?application_name=a").unwrap();
    assert_eq!(direct.direct.unwrap().get_host(), "localhost");
    for ours in
        ["schema=jobs", "connections=3", "pooler=transaction", "migrate=false", "listen=off"]
    {
        let url = format!("postgres://localhost/x?{ours}");
        let error = options.clone().direct_url(&url).unwrap_err().to_string();
        let name = ours.split('=').next().unwrap();
        assert!(error.contains(&format!("`{name}`")) && error.contains("direct"), "{error}");
    }
}
