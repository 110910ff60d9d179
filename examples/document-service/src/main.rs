//! A web service that compares documents in the background: an API, a page that updates live, and a worker, in one program.
//!
//! ```sh
//! cargo run -p document-service
//! ```

#![allow(unreachable_pub)] // modules of a program

mod app;
mod auth;
mod compare;
mod data;
mod drain;
mod error;
mod events;
mod health;
mod jobs;
mod page;
mod password;
mod text;
mod upload;
mod view;

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use app::App;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Router, middleware};
use clap::{Parser, Subcommand, ValueEnum};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// An error that ends the program.
type Fatal = Box<dyn Error + Send + Sync>;

#[derive(Parser)]
#[command(about = "Compares documents in the background", args_override_self = true)]
struct Options {
    /// What to run; API and worker when left out.
    #[command(subcommand)]
    run: Option<Run>,
    /// Folder for the database and the files.
    #[arg(long, global = true, env = "SERVICE_DIR", default_value = "document-service-data")]
    dir: PathBuf,
    /// Where the API and the page are served.
    #[arg(long, global = true, env = "LISTEN", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Users and documents: `sqlite:FILE` or `postgres://user@host/database`; `service.db` in the folder when left out.
    #[arg(long, global = true, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    database: Option<String>,
    /// Jobs, when they are kept elsewhere: `redis://host/0` or any other backend.
    #[arg(long, global = true, value_name = "URL", env = "JOBS_URL", hide_env_values = true)]
    jobs: Option<String>,
    /// Files: a folder, or `s3://bucket/prefix?endpoint=URL&region=NAME` with the credentials in `AWS_ACCESS_KEY_ID` and
    /// `AWS_SECRET_ACCESS_KEY`; `files` in the folder when left out.
    #[arg(long, global = true, value_name = "PLACE", env = "STORAGE_URL", hide_env_values = true)]
    storage: Option<String>,
    /// How results are handed out: `stream` through the API, or `redirect` to a URL of the storage, which clients must reach; that is the
    /// default when `--public-storage` is given.
    #[arg(long, global = true, env = "RESULTS")]
    results: Option<Results>,
    /// The storage as clients reach it, when that is by another address than ours: `s3://bucket/prefix?endpoint=URL&region=NAME`.
    #[arg(
        long,
        global = true,
        value_name = "PLACE",
        env = "PUBLIC_STORAGE_URL",
        hide_env_values = true
    )]
    public_storage: Option<String>,
    /// The largest file taken, in bytes.
    #[arg(long, global = true, value_name = "BYTES", env = "MAX_FILE", default_value_t = 100 << 20)]
    max_file: u64,
    /// How long a token is good for, in seconds.
    #[arg(long, global = true, value_name = "SECONDS", env = "TOKEN_TTL", default_value_t = 12 * 3_600,
          value_parser = clap::value_parser!(u32).range(1..))]
    token_ttl: u32,
    /// Jobs that this worker runs at once.
    #[arg(long, global = true, value_name = "N", env = "CONCURRENCY", default_value_t = 4,
          value_parser = clap::value_parser!(u32).range(1..=256))]
    concurrency: u32,
    /// Makes each step of a job take so many milliseconds longer, to watch it.
    #[arg(long, global = true, value_name = "MS", env = "SLOW", default_value_t = 0)]
    slow: u64,
    /// The first user; `admin@example.org` when left out.
    #[arg(long, global = true, env = "ADMIN_EMAIL")]
    admin_email: Option<String>,
    /// The first user's password; one is made and printed once when left out.
    #[arg(long, global = true, env = "ADMIN_PASSWORD", hide_env_values = true)]
    admin_password: Option<String>,
}

/// Who signs in first when nobody says otherwise.
const FIRST_USER: &str = "admin@example.org";

#[derive(ValueEnum, Clone, Copy, PartialEq)]
enum Results {
    Stream,
    Redirect,
}

#[derive(Subcommand, Clone)]
enum Run {
    /// The API and the page, without a worker.
    Api,
    /// A worker, without the API.
    Worker,
    /// Adds a user and prints the password.
    AddUser {
        /// The name to sign in by.
        email: String,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::INFO)
        .init();
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {}", error::with_causes(&*error));
            ExitCode::from(2)
        }
    }
}

async fn run(options: Options) -> Result<(), Fatal> {
    let app = Arc::new(app::open(&options).await?);
    if let Some(Run::AddUser { email }) = &options.run {
        let password = password::generate();
        return match app.data.add_user(email, &password::hash(password.clone()).await?).await? {
            true => Ok(writeln!(std::io::stdout(), "{password}")?),
            false => Err(format!("there is a user `{email}` already").into()),
        };
    }
    if !matches!(options.run, Some(Run::Worker)) {
        first_user(&app, &options).await?;
    }
    stop_when_asked(app.stop.clone());
    let relay = tokio::spawn(relay(app.clone()));
    let (api, worker) = match options.run {
        Some(Run::Api) => (serve(&app, options.listen).await, Ok(())),
        Some(Run::Worker) => (Ok(()), compare::work(&app, options.concurrency).await),
        _ => tokio::join!(serve(&app, options.listen), compare::work(&app, options.concurrency)),
    };
    app.stop.cancel();
    relay.await?;
    app.jobs.close().await?;
    api?;
    Ok(worker?)
}

/// Makes sure that somebody can sign in.
async fn first_user(app: &App, options: &Options) -> Result<(), Fatal> {
    let email = app::set(&options.admin_email).unwrap_or(FIRST_USER);
    let given = app::set(&options.admin_password).map(str::to_owned);
    if given.as_ref().is_some_and(|password| password.len() > auth::LONGEST_PASSWORD) {
        let most = auth::LONGEST_PASSWORD;
        return Err(format!("`--admin-password` is longer than {most} bytes").into());
    }
    if let Some((_, hashed)) = app.data.user(email).await? {
        if let Some(given) = given
            && !password::verify(given, Some(hashed)).await?
        {
            tracing::warn!("the first user keeps the password of an earlier start");
        }
        return Ok(());
    }
    if given.is_none() && app.data.has_users().await? {
        return Ok(());
    }
    let password = given.clone().unwrap_or_else(password::generate);
    let added = app.data.add_user(email, &password::hash(password.clone()).await?).await?;
    if added && given.is_none() {
        writeln!(std::io::stdout(), "first user: {email}, password: {password}")?;
    }
    Ok(())
}

fn routes(app: Arc<App>) -> Router {
    let api = Router::new()
        .route("/auth/token", post(auth::token))
        .route("/jobs", get(jobs::list))
        .route("/jobs/upload", post(upload::upload))
        .route("/jobs/{id}", get(jobs::show))
        .route("/jobs/{id}/cancel", post(jobs::cancel))
        .route("/jobs/{id}/retry", post(jobs::retry))
        .route("/jobs/{id}/result", get(jobs::result))
        .route("/events", get(events::follow))
        .route("/health", get(health::check));
    Router::new()
        .nest("/api/v1", api)
        .route("/health", get(health::check))
        .merge(page::routes())
        .fallback(error::unknown_path)
        .method_not_allowed_fallback(error::wrong_method)
        .layer(middleware::from_fn(drain::drain))
        .layer(middleware::map_response(nosniff))
        .with_state(app)
}

/// Whatever is answered is what its type says.
async fn nosniff(mut answer: Response) -> Response {
    let nosniff = HeaderValue::from_static("nosniff");
    answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    answer
}

async fn serve(app: &Arc<App>, listen: SocketAddr) -> Result<(), Fatal> {
    let stop = app.stop.clone();
    // Whatever ends the one half of the program ends the other.
    let _ended = stop.clone().drop_guard();
    let listener = TcpListener::bind(listen).await.map_err(|e| {
        format!("can't listen on {listen}: {e}; choose another address with `--listen`")
    })?;
    writeln!(std::io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    let serving = axum::serve(listener, routes(app.clone()));
    let stopped = stop.clone();
    let serving = serving.with_graceful_shutdown(stopped.cancelled_owned()).into_future();
    tokio::select! {
        ended = serving => Ok(ended?),
        // Clients that don't come to an end are left behind.
        () = async { stop.cancelled().await; tokio::time::sleep(Duration::from_secs(10)).await } => Ok(()),
    }
}

/// Moves jobs from the database to where they run, if that is elsewhere.
async fn relay(app: Arc<App>) {
    while let Err(error) = app.data.relay(app.stop.cancelled()).await {
        tracing::error!(error = error::with_causes(&error), "can't move jobs; trying again");
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

/// Ctrl-C, or the signal by which process managers end a program.
fn stop_when_asked(stop: CancellationToken) {
    tokio::spawn(async move {
        #[cfg(unix)]
        if let Ok(mut terminate) =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return stop.cancel();
        }
        let _ = tokio::signal::ctrl_c().await;
        stop.cancel();
    });
}
