//! The running program, and clients of it.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

pub mod browser;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::multipart::{Form, Part};
use reqwest::{Client, ClientBuilder, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;
use windlass_test_servers::{PostgresServer, RedisServer, S3Server};

pub const ADMIN: (&str, &str) = ("admin@example.org", "secret");
/// A hang is a failure; how long anything takes is not.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where a service keeps its things.
pub struct Place {
    pub dir: TempDir,
    /// Where users and documents are, if not in the folder.
    pub database: Option<String>,
    /// Where jobs are, if not in the database.
    pub jobs: Option<String>,
    environment: Vec<(&'static str, String)>,
    pub s3: Option<S3Server>,
}

impl Place {
    /// SQLite and a folder.
    pub async fn local() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, database: None, jobs: None, environment: Vec::new(), s3: None }
    }

    /// Postgres and an object store.
    pub async fn servers() -> Self {
        let mut place = Self::local().await;
        let postgres = PostgresServer::shared().await.unwrap();
        let database = postgres.create_database().await.unwrap();
        let s3 = S3Server::start().await.unwrap();
        place.database = Some(postgres.url(&database));
        place.environment = vec![
            ("AWS_ACCESS_KEY_ID", s3.key_id().to_owned()),
            ("AWS_SECRET_ACCESS_KEY", s3.secret().to_owned()),
        ];
        place.s3 = Some(s3);
        place
    }

    /// SQLite and a folder, with jobs on Redis.
    pub async fn redis() -> Self {
        let mut place = Self::local().await;
        let redis = RedisServer::shared().await.unwrap();
        place.jobs = Some(redis.url(&format!("documents-{}", windlass::JobId::new())));
        place
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_document-service"));
        command.arg("--dir").arg(self.dir.path()).args(["--listen", "127.0.0.1:0"]);
        let storage = self.s3.as_ref().map(S3Server::url);
        let options =
            [("--database", &self.database), ("--jobs", &self.jobs), ("--storage", &storage)];
        for (option, value) in options {
            command.args(value.iter().flat_map(|value| [option, value]));
        }
        command.args(args).env("ADMIN_PASSWORD", ADMIN.1);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts the program, with further arguments.
    pub fn start(&self, args: &[&str]) -> Service {
        self.run(self.command(args))
    }

    /// Starts the program by a command.
    pub fn run(&self, mut command: Command) -> Service {
        let log = self.dir.path().join(format!("log-{}", windlass::JobId::new()));
        command.stdout(Stdio::piped()).stderr(File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut url = String::new();
        if !command.get_args().any(|arg| arg == "worker") {
            let found = lines
                .by_ref()
                .find_map(|line| Some(line.unwrap().strip_prefix("listening on ")?.to_owned()));
            url = found.unwrap_or_else(|| panic!("it did not start: {}", read(&log)));
        }
        // The program must never wait for somebody to read.
        std::thread::spawn(move || lines.for_each(drop));
        Service { child, url, log, forgiven: false }
    }

    /// A client of the jobs, beside the program.
    pub async fn client(&self) -> windlass::Client {
        let file = format!("sqlite:{}", self.dir.path().join("service.db").display());
        let url = self.jobs.as_ref().or(self.database.as_ref()).unwrap_or(&file);
        windlass::connect(url).await.unwrap()
    }

    /// Runs statements in the database, in SQLite's or in Postgres' dialect.
    pub async fn execute(&self, sqlite: &str, postgres: &str) {
        use sqlx::Connection;
        if let Some(url) = &self.database {
            let mut conn = sqlx::PgConnection::connect(url).await.unwrap();
            sqlx::raw_sql(sqlx::AssertSqlSafe(postgres)).execute(&mut conn).await.unwrap();
        } else {
            let file = SqliteConnectOptions::new().filename(self.dir.path().join("service.db"));
            let mut conn = sqlx::SqliteConnection::connect_with(&file).await.unwrap();
            sqlx::raw_sql(sqlx::AssertSqlSafe(sqlite)).execute(&mut conn).await.unwrap();
        }
    }

    /// How many documents there are.
    pub async fn documents(&self) -> i64 {
        use sqlx::Connection;
        let sql = "SELECT count(*) FROM documents";
        if let Some(url) = &self.database {
            let mut conn = sqlx::PgConnection::connect(url).await.unwrap();
            return sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap();
        }
        let file = SqliteConnectOptions::new().filename(self.dir.path().join("service.db"));
        let mut conn = sqlx::SqliteConnection::connect_with(&file).await.unwrap();
        sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap()
    }

    /// What is there of files that have not come whole.
    pub fn parts(&self) -> Vec<String> {
        // The store keeps them beside its buckets, a folder beside its files.
        let (folder, mark) = match &self.s3 {
            Some(s3) => (s3.objects().parent().unwrap().to_owned(), ".upload"),
            None => (self.files().join("blobs"), "#"),
        };
        let names = fs::read_dir(folder).into_iter().flatten();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains(mark)).collect()
    }

    /// Adds a user, and gives the password.
    pub fn add_user(&self, email: &str) -> String {
        let output = self.command(&["add-user", email]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Where the files are, one per object.
    pub fn files(&self) -> PathBuf {
        match &self.s3 {
            Some(s3) => s3.objects(),
            None => self.dir.path().join("files"),
        }
    }

    /// The keys of all blobs.
    pub fn blobs(&self) -> Vec<String> {
        let entries = fs::read_dir(self.files().join("blobs")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    pub async fn until_blobs(&self, count: usize) {
        until("the blobs are removed", async || (self.blobs().len() == count).then_some(())).await;
    }
}

/// A running program; killed when dropped. It must not have failed in a way of its own.
pub struct Service {
    child: Child,
    pub url: String,
    log: PathBuf,
    /// A test has made requests fail.
    pub forgiven: bool,
}

impl Service {
    /// Asks the program to stop, as process managers do, and waits for its end.
    pub fn stop(mut self) -> std::process::ExitStatus {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(asked.unwrap().success());
        self.child.wait().unwrap()
    }

    pub fn kill_9(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        read(&self.log)
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// A client that is signed in as the first user.
    pub async fn admin(&self) -> User {
        self.sign_in(ADMIN.0, ADMIN.1).await
    }

    pub async fn sign_in(&self, username: &str, password: &str) -> User {
        let answer = self.try_sign_in(username, password).await;
        assert_eq!(answer.status(), 200);
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["token_type"], "bearer");
        let token = body["access_token"].as_str().unwrap().to_owned();
        User { http: http(), base: format!("{}/api/v1", self.url), token }
    }

    pub async fn try_sign_in(&self, username: &str, password: &str) -> Response {
        let form = [("username", username), ("password", password)];
        let post = http().post(format!("{}/api/v1/auth/token", self.url));
        post.form(&form).send().await.unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            return eprintln!("{}", self.log());
        }
        for fault in ["panicked at", "a request failed"] {
            let meant = self.forgiven && fault == "a request failed";
            assert!(meant || !self.log().contains(fault), "{}", self.log());
        }
    }
}

fn read(log: &Path) -> String {
    String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned()
}

#[derive(Clone)]
pub struct User {
    pub http: Client,
    pub base: String,
    pub token: String,
}

impl User {
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.base)).bearer_auth(&self.token)
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.token)
    }

    pub async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.unwrap()
    }

    /// Uploads two files and gives the id of their job.
    pub async fn upload(&self, content: &str, context: &str) -> String {
        let answer =
            self.post("/jobs/upload").multipart(form(content, context)).send().await.unwrap();
        job_id(answer).await
    }

    pub async fn job(&self, id: &str) -> Value {
        self.json(&format!("/jobs/{id}")).await
    }

    /// Waits for a status.
    pub async fn until(&self, id: &str, status: &str) -> Value {
        until(&format!("job {id} is {status}"), async || {
            let job = self.job(id).await;
            let over = job["finished_at"].is_string() && job["status"] != status;
            assert!(!over, "{status} was expected: {job}");
            (job["status"] == status).then_some(job)
        })
        .await
    }
}

pub fn file(name: &str, content: impl Into<Vec<u8>>) -> Part {
    Part::bytes(content.into()).file_name(name.to_owned())
}

pub fn form(content: &str, context: &str) -> Form {
    Form::new()
        .part("content_key", file("content.txt", content))
        .part("context_key", file("context.txt", context))
}

pub async fn job_id(answer: Response) -> String {
    let status = answer.status();
    let body: Value = answer.json().await.unwrap();
    assert_eq!((status, &body["status"]), (StatusCode::CREATED, &Value::from("PENDING")), "{body}");
    body["job_id"].as_str().unwrap().to_owned()
}

/// Asks again and again until there is an answer.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    let answer = tokio::time::timeout(PATIENCE, asking).await;
    answer.unwrap_or_else(|_| panic!("it did not come about that {what}"))
}

/// A client of HTTP.
pub fn http() -> Client {
    builder().build().unwrap()
}

pub fn builder() -> ClientBuilder {
    // Another test may have been faster.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
}

pub fn remove(files: &Path, key: &Value) {
    fs::remove_file(files.join(key.as_str().unwrap())).unwrap();
}
