//! What the files for containers say, held against the program.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::expect_used, unreachable_pub, reason = "modules of a test")]

mod support;

use std::process::Command;

use support::{ADMIN, Place, http};

const COMPOSE: &str = include_str!("../compose.yaml");

/// The lines of a service, or of what they share, without its name.
fn part(name: &str) -> impl Iterator<Item = &'static str> {
    let lines = COMPOSE.lines().skip_while(move |line| !line.trim_start().starts_with(name));
    let depth = |line: &str| line.len() - line.trim_start().len();
    let mut lines = lines.peekable();
    let own = lines.peek().map_or(0, |line| depth(line));
    lines.skip(1).take_while(move |line| line.is_empty() || depth(line) > own)
}

/// The variables that a part sets.
fn environment(name: &str) -> Vec<(&'static str, &'static str)> {
    let pairs = part(name).filter_map(|line| line.trim().split_once(": "));
    pairs.filter(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_')).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_runs_with_what_the_compose_file_sets() {
    let place = Place::servers().await;
    let shared = environment("x-service:");
    let api = environment("api:");
    assert_eq!((shared.len(), api.len()), (5, 2), "{shared:?} {api:?}");
    let help = Command::new(env!("CARGO_BIN_EXE_document-service")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for (name, _) in shared.iter().chain(&api) {
        let known = [format!("[env: {name}"), format!("`{name}`")];
        assert!(known.iter().any(|known| help.contains(known)), "{name} is not in {help}");
    }

    // Other addresses and keys, and else the same.
    let s3 = place.s3.as_ref().unwrap();
    let value = |name: &str, value: &str| match name {
        "DATABASE_URL" => place.database.clone().unwrap(),
        "STORAGE_URL" => {
            let (parameters, same) = (value.split_once('?').unwrap().1, s3.url());
            let names = |url: &str| {
                url.split('&').map(|p| p.split('=').next().unwrap().to_owned()).collect::<Vec<_>>()
            };
            assert_eq!(names(parameters), names(same.split_once('?').unwrap().1));
            same
        }
        "AWS_ACCESS_KEY_ID" => s3.key_id().to_owned(),
        "AWS_SECRET_ACCESS_KEY" => s3.secret().to_owned(),
        "ADMIN_PASSWORD" => value.split_once(":-").unwrap().1.trim_end_matches('}').to_owned(),
        "LISTEN" => {
            assert!(value.starts_with("0.0.0.0:"), "only so do others reach it");
            "127.0.0.1:0".to_owned()
        }
        _ => value.to_owned(),
    };
    let variables = |pairs: &[(&'static str, &str)]| {
        pairs.iter().map(|(name, text)| (*name, value(name, text))).collect::<Vec<_>>()
    };
    let command = |name: &str, variables: Vec<(&'static str, String)>| {
        let line = part(name).find_map(|line| line.trim().strip_prefix("command: ["));
        let mut command = Command::new(env!("CARGO_BIN_EXE_document-service"));
        command.arg(line.unwrap().trim_end_matches(']')).envs(variables);
        // As in the image, it has a home and nothing in it.
        command.current_dir(place.dir.path());
        command
    };
    let all = [&shared[..], &api].concat();
    let service = place.run(command("api:", variables(&all)));
    let _worker = place.run(command("worker:", variables(&shared)));
    let user = service.sign_in(ADMIN.0, ADMIN.1).await;
    let id = user.upload("content", "context").await;
    user.until(&id, "COMPLETED").await;
    let result = user.get(&format!("/jobs/{id}/result")).send().await.unwrap();
    assert!(result.url().as_str().starts_with(&service.url), "{}", result.url());
    assert_eq!(result.status(), 200);

    // The line that looks after its health.
    let line = part("api:").find_map(|line| line.trim().strip_prefix("test: [CMD, bash, -c, "));
    let line: String = serde_json::from_str(line.unwrap().trim_end_matches(']')).unwrap();
    let port = service.url.rsplit(':').next().unwrap();
    let line = line.replace("8080", port);
    let healthy = || Command::new("bash").args(["-c", &line]).output().unwrap().status.success();
    assert!(healthy());
    drop(service);
    assert!(!healthy());
    assert!(http().get(user.base).send().await.is_err());
}

#[test]
fn the_image_holds_this_program_and_not_the_root_user() {
    let file = include_str!("../Dockerfile");
    let name = env!("CARGO_PKG_NAME");
    for line in [
        &format!("RUN cargo build --release --locked -p {name}"),
        &format!("COPY --from=build /source/target/release/{name} /usr/local/bin/"),
        "USER service",
        &format!("ENTRYPOINT [\"{name}\"]"),
    ] {
        assert!(file.lines().any(|found| found == line), "{line}");
    }
    let dockerfile = "dockerfile: examples/document-service/Dockerfile";
    assert!(part("x-service:").any(|line| line.trim() == dockerfile));
}
