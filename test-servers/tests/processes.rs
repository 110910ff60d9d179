//! What a test process leaves behind, and what its environment tells it. The children are this very test program, started again for
//! one ignored test.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use windlass_test_servers::{PgBouncer, PostgresServer};

fn program(task: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--ignored", "--nocapture"]).env("KIT_TASK", task);
    command
}

#[tokio::test]
#[ignore = "the body of the child processes"]
async fn child() {
    match std::env::var("KIT_TASK").unwrap().as_str() {
        "serve" => {
            let mut server = PostgresServer::builder();
            if std::env::var_os("KIT_TMPFS").is_some() {
                server = server.data_on_tmpfs(100 << 20);
            }
            let server = server.start().await.unwrap();
            let bouncer = PgBouncer::builder(&server).start().await.unwrap();
            println!("\nat {} {}", server.port(), server.folder().display());
            println!("at {} {}", bouncer.port(), bouncer.folder().display());
            println!("at end");
            std::future::pending().await
        }
        "given" => {
            let server = PostgresServer::shared().await.unwrap();
            let name = server.create_database().await.unwrap();
            server.execute(&name, "CREATE TABLE here (n int)").await.unwrap();
            println!("\nmade {name}");
        }
        other => panic!("unknown task {other}"),
    }
}

/// A SIGKILL runs no destructor.
#[test]
fn a_killed_process_leaves_no_server_and_no_folder() {
    let is_root =
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0;
    let mut program = program("serve");
    if is_root {
        program.env("KIT_TMPFS", "1");
    }
    let mut child = program.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let servers: Vec<(u16, String)> = lines
        .filter_map(|line| line.strip_prefix("at ").map(str::to_owned))
        .take_while(|line| line != "end")
        .map(|line| {
            let (port, folder) = line.split_once(' ').unwrap();
            (port.parse().unwrap(), folder.to_owned())
        })
        .collect();
    assert_eq!(servers.len(), 2);
    for (port, folder) in &servers {
        assert!(Path::new(folder).is_dir());
        TcpStream::connect(("127.0.0.1", *port)).unwrap();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let since = Instant::now();
    for (port, folder) in &servers {
        while Path::new(folder).exists() || TcpStream::connect(("127.0.0.1", *port)).is_ok() {
            assert!(since.elapsed() < Duration::from_secs(120), "{folder} is still there");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    assert!(servers.iter().all(|(_, folder)| !mounts.contains(folder)), "{mounts}");
}

/// With a user who may make databases, one who may only make schemas.
#[tokio::test]
async fn the_server_of_the_environment_is_used() {
    let server = PostgresServer::builder().start().await.unwrap();
    let database = server.create_database().await.unwrap();
    let roles =
        "CREATE ROLE maker LOGIN CREATEDB PASSWORD 'a'; CREATE ROLE guest LOGIN PASSWORD 'a'";
    server.execute(&database, roles).await.unwrap();
    server
        .execute(&database, &format!("GRANT CREATE ON DATABASE {database} TO guest"))
        .await
        .unwrap();
    for (user, made_in, schema) in [("maker", None, "public"), ("guest", Some(&database), "")] {
        let mut program = program("given");
        program.env("DATABASE_URL", server.url_as(user, "a", &database));
        let output = tokio::task::spawn_blocking(move || program.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let name = said.lines().find_map(|line| line.strip_prefix("made ")).expect(&said);
        let (made_in, schema) =
            (made_in.map_or(name, |d| d), if schema.is_empty() { name } else { schema });
        let found =
            server.value(made_in, &format!("SELECT to_regclass('{schema}.here')")).await.unwrap();
        assert!(found.is_some(), "{user}");
    }
}
