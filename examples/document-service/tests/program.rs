//! The program itself: how it starts, and what it serves to everybody.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::expect_used, unreachable_pub, reason = "modules of a test")]

mod support;

use reqwest::Method;
use serde_json::Value;
use support::{ADMIN, Place, form, http, until};
use windlass_test_servers::{PostgresServer, RedisServer, S3Server};

#[tokio::test]
async fn what_can_not_be_used_is_told_at_the_start() {
    let place = Place::local().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = port.local_addr().unwrap().to_string();
    std::fs::write(place.dir.path().join("file"), "").unwrap();
    let file = place.dir.path().join("file").display().to_string();
    let cases: [(&[&str], &str); 15] = [
        (
            &["--database", "mysql://user:hunter2@host/x"],
            "`--database` takes `sqlite:FILE` or `postgres:",
        ),
        (&["--database", "postgres://user:hunter2@127.0.0.1:1/x"], "`--database`: postgres"),
        (&["--database", "sqlite:/nowhere/at/all.db"], "`--database`: "),
        (&["--jobs", "redis://:hunter2@127.0.0.1:1/0"], "`--jobs`: redis"),
        (&["--jobs", "memory:"], "`--jobs` names a backend that forgets jobs"),
        (&["--jobs", "nonsense"], "`--jobs`: "),
        (&["--storage", "https://host/bucket"], "`--storage` takes a folder"),
        (&["--storage", "s3://"], "names no bucket"),
        (&["--storage", &file], "can't be used"),
        (&["--results", "redirect"], "need an object store"),
        (&["--results", "elsewhere"], "redirect"),
        (&["--public-storage", "s3://b?endpoint=http://h"], "need an object store"),
        (&["--public-storage", "https://user:hunter2@host/x"], "`--public-storage`"),
        (&["--listen", &taken], "choose another address with `--listen`"),
        (&["--token-ttl", "0"], "--token-ttl"),
    ];
    let mut by_environment = place.command(&[]);
    by_environment.env("JOBS_URL", "memory:");
    let output = by_environment.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("`--jobs` names a backend that forgets jobs"), "{error}");
    for (args, part) in cases {
        let output = place.command(args).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        assert!(error.contains(part) && !error.contains("hunter2"), "{args:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_store_that_refuses_is_told_at_the_start() {
    let place = Place::local().await;
    let server = S3Server::start().await.unwrap();
    let mut command = place.command(&["add-user", "somebody", "--storage", &server.url()]);
    command.env("AWS_ACCESS_KEY_ID", server.key_id()).env("AWS_SECRET_ACCESS_KEY", "hunter2");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("look at `--storage`") && !error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn without_a_password_one_is_made_and_printed_once() {
    let place = Place::local().await;
    // An address that is taken ends the program once the user is there.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = place.command(&["api", "--listen", &taken.local_addr().unwrap().to_string()]);
    // As a file of variables leaves it that names it and sets nothing.
    command.env("ADMIN_PASSWORD", "").env("ADMIN_EMAIL", "").env("JOBS_URL", "");
    let first = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let password = first.trim().strip_prefix("first user: admin@example.org, password: ").unwrap();
    command.env_remove("ADMIN_PASSWORD");
    let again = command.output().unwrap();
    assert!(again.stdout.is_empty(), "{}", String::from_utf8_lossy(&again.stdout));
    let service = place.start(&["api"]);
    assert_eq!(service.try_sign_in(ADMIN.0, password).await.status(), 200);
    assert_eq!(service.try_sign_in(ADMIN.0, ADMIN.1).await.status(), 401);
    let taken = place.command(&["add-user", ADMIN.0]).output().unwrap();
    assert_eq!(taken.status.code(), Some(2));
    // Neither the password nor a token stands in the database.
    let file = format!("sqlite:{}", place.dir.path().join("service.db").display());
    let database = sqlx::SqlitePool::connect(&file).await.unwrap();
    let hashed: String =
        sqlx::query_scalar("SELECT password FROM users").fetch_one(&database).await.unwrap();
    assert!(hashed.starts_with("$argon2id$"), "{hashed}");
    let digest = sqlx::query_scalar::<_, Vec<u8>>("SELECT CAST(digest AS BLOB) FROM tokens");
    let answer = service.try_sign_in(ADMIN.0, password).await;
    let token = answer.json::<Value>().await.unwrap()["access_token"].clone();
    for digest in digest.fetch_all(&database).await.unwrap() {
        assert_ne!(digest, token.as_str().unwrap().as_bytes());
    }
    // Another one given later changes nothing, and that is said.
    assert!(service.log().contains("keeps the password of an earlier start"));
}

#[tokio::test]
async fn the_page_has_a_strict_policy_and_no_other_origin() {
    let place = Place::local().await;
    let service = place.start(&["api"]);
    for path in ["/", "/app.js", "/app.css", "/icon.svg", "/openapi.json"] {
        let answer = http().get(format!("{}{path}", service.url)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert_eq!(
            policy,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
        );
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        let text = answer.text().await.unwrap();
        for markup in ["innerHTML", "onclick=", "style=\"", "https://"] {
            assert!(!text.contains(markup), "{path}: {markup}");
        }
    }
    let nowhere = http().get(format!("{}/nowhere", service.url)).send().await.unwrap();
    assert_eq!(nowhere.status(), 404);
    assert!(nowhere.json::<Value>().await.unwrap()["detail"].is_string());
}

#[tokio::test]
async fn the_openapi_document_tells_what_is_served() {
    let place = Place::local().await;
    let service = place.start(&["api"]);
    let user = service.admin().await;
    let url = format!("{}/openapi.json", service.url);
    let document: Value = http().get(&url).send().await.unwrap().json().await.unwrap();
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 9);
    for (path, methods) in paths {
        let url = format!("{}{}", service.url, path.replace("{id}", "x"));
        for (method, operation) in methods.as_object().unwrap() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let answer = user.http.request(method.clone(), &url).send().await.unwrap();
            let status = answer.status().as_u16();
            let open = path.ends_with("health") || path.ends_with("token");
            assert_eq!(status == 401, !open, "{method} {path}: {status}");
            assert_eq!(operation["security"].is_null(), open, "{path}");
            assert!(operation["responses"].get(status.to_string()).is_some(), "{path}: {status}");
        }
        let wrong = user.http.delete(&url).send().await.unwrap();
        assert_eq!(wrong.status(), 405, "{path}");
    }
    // Whatever a document refers to is in it.
    let text = document.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_tells_of_servers_that_are_away_and_back() {
    let place = Place::local().await;
    let postgres = PostgresServer::builder().start().await.unwrap();
    let database = postgres.url(&postgres.create_database().await.unwrap());
    let redis = RedisServer::builder().start().await.unwrap();
    let args = ["api", "--database", &database, "--jobs", &redis.url("documents")];
    let service = place.start(&args);
    let user = service.admin().await;
    let until_health = async |expected: [&str; 3]| {
        until(&format!("health is {expected:?}"), async || {
            let answer = http().get(format!("{}/health", user.base)).send().await.unwrap();
            let status = answer.status();
            let body: Value = answer.json().await.unwrap();
            let all = expected == ["ok"; 3];
            assert_eq!(status == 200, body["status"] == "ok", "{body}");
            let found = [&body["database"], &body["jobs"], &body["storage"]];
            (found == expected && (status == 200) == all).then_some(())
        })
        .await;
    };
    until_health(["ok"; 3]).await;
    redis.kill_9().await.unwrap();
    until_health(["ok", "down", "ok"]).await;
    let refused = user.post("/jobs/upload").multipart(form("content", "context")).send().await;
    assert_eq!(refused.unwrap().status(), 503);
    redis.start().await.unwrap();
    until_health(["ok"; 3]).await;
    place.until_blobs(0).await;
    let id = user.upload("content", "context").await;
    postgres.kill_9().await.unwrap();
    until_health(["down", "ok", "ok"]).await;
    postgres.start().await.unwrap();
    until_health(["ok"; 3]).await;
    let _worker =
        place.start(&["worker", "--database", &database, "--jobs", &redis.url("documents")]);
    user.until(&id, "COMPLETED").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asked_to_stop_it_gives_its_jobs_back_and_ends_what_clients_follow() {
    let place = Place::local().await;
    let service = place.start(&["--slow", "600000"]);
    let user = service.admin().await;
    let id = user.upload("content", "context").await;
    user.until(&id, "IN_PROGRESS").await;
    let mut events = user.get("/events").send().await.unwrap();
    assert!(events.chunk().await.unwrap().is_some());
    let ended = tokio::task::spawn_blocking(|| service.stop()).await.unwrap();
    assert!(ended.success(), "{ended}");
    // Whole, not broken off.
    while events.chunk().await.unwrap().is_some() {}
    let service = place.start(&["api"]);
    let job = service.admin().await.job(&id).await;
    assert_eq!((&job["status"], &job["attempts"]), (&"PENDING".into(), &0.into()), "{job}");
}
