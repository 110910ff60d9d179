//! A job as clients see it.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use windlass::{
    AttemptError, Blob, Cause, Client, Event, EventBody, FailureKind, JobId, JobRecord, Note,
    Progress, State,
};

use crate::Fatal;
use crate::app::App;
use crate::auth::User;
use crate::compare::Compare;
use crate::error::{Failed, with_causes};

/// Longest result that is shown as a part of its job.
const SHOWN: u64 = 1 << 20;

/// The states that a status stands for.
pub fn states(status: &str) -> Option<&'static [State]> {
    Some(match status {
        "PENDING" => &[State::Blocked, State::Scheduled, State::Available, State::Retryable],
        "IN_PROGRESS" => &[State::Running],
        "COMPLETED" => &[State::Completed],
        "FAILED" => &[State::Cancelled, State::Discarded],
        _ => return None,
    })
}

fn status(state: State) -> &'static str {
    match state {
        State::Running => "IN_PROGRESS",
        State::Completed => "COMPLETED",
        State::Cancelled | State::Discarded => "FAILED",
        _ => "PENDING",
    }
}

#[derive(Serialize)]
pub struct View {
    pub job_id: JobId,
    pub status: &'static str,
    /// The library's own state, which tells more.
    pub state: State,
    pub cancel_requested: bool,
    pub attempts: u32,
    pub errors: Vec<AttemptError>,
    pub progress: Option<Progress>,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub payload: Option<Value>,
    pub result_path: Option<String>,
}

#[derive(Serialize)]
pub struct Detail {
    #[serde(flatten)]
    pub job: View,
    pub result_content: Option<Value>,
    pub timeline: Vec<Step>,
}

#[derive(Serialize)]
pub struct Step {
    at: Timestamp,
    what: String,
}

/// What the two files of a job are called, for people and in the storage.
pub fn payload(job: &Compare) -> Value {
    serde_json::json!({
        "content_key": job.content.blob.key,
        "context_key": job.context.blob.key,
        "content_name": job.content.name,
        "context_name": job.context.name,
    })
}

impl View {
    /// A job as far as it can be read: one that is damaged must not hide the others of a listing.
    pub async fn of(app: &App, user: &User, record: JobRecord) -> Result<Self, Failed> {
        let payload = match told(&record, app.jobs.args::<Compare>(&record).await)? {
            Some(job) => Some(payload(&job)),
            // Its row says the same.
            None => app.data.document(&user.id, record.id).await?.map(|(_, payload)| payload),
        };
        let result = told(&record, app.jobs.output::<Compare>(&record).await)?.flatten();
        let mut errors = record.errors;
        if record.state == State::Cancelled && errors.is_empty() {
            errors.push(AttemptError {
                attempt: record.attempt,
                at: record.finished_at.unwrap_or(record.created_at),
                kind: FailureKind::Cancelled,
                message: "cancelled before it ran".to_owned(),
            });
        }
        Ok(Self {
            job_id: record.id,
            status: status(record.state),
            state: record.state,
            cancel_requested: record.cancel_requested,
            attempts: record.attempt,
            errors,
            progress: record.progress,
            created_at: record.created_at,
            finished_at: record.finished_at,
            payload,
            result_path: result.map(|blob| blob.key.to_string()),
        })
    }

    /// A job that is committed and on its way to where it runs.
    pub fn on_its_way(job_id: JobId, created_at: Timestamp, payload: Value) -> Self {
        Self {
            job_id,
            status: status(State::Available),
            state: State::Available,
            cancel_requested: false,
            attempts: 0,
            errors: Vec::new(),
            progress: None,
            created_at,
            finished_at: None,
            payload: Some(payload),
            result_path: None,
        }
    }
}

/// What was read of a job; `None`, and a line in the log, when it can't be made out. It is an error when reading again may help.
fn told<T>(record: &JobRecord, read: windlass::Result<T>) -> Result<Option<T>, Failed> {
    match read {
        Err(error) if error.is_transient() => Err(error.into()),
        Err(error) => {
            tracing::warn!(job = %record.id, error = with_causes(&error), "a part of a job can't be read");
            Ok(None)
        }
        Ok(part) => Ok(Some(part)),
    }
}

impl Detail {
    pub async fn of(app: &App, user: &User, record: JobRecord) -> Result<Self, Failed> {
        let jobs = &app.jobs;
        let result_content = match jobs.output::<Compare>(&record).await {
            // The job has more to tell than its result.
            Ok(Some(blob)) if blob.len <= SHOWN => match read(jobs, &blob).await {
                Ok(content) => Some(content),
                Err(error) => {
                    let error = with_causes(&*error);
                    tracing::warn!(job = %record.id, error, "a result can't be read");
                    None
                }
            },
            // The view tells of what can't be read.
            _ => None,
        };
        let history = jobs.history(record.id).await?;
        let timeline = history.into_iter().filter_map(Step::of).collect();
        Ok(Self { job: View::of(app, user, record).await?, result_content, timeline })
    }
}

async fn read(jobs: &Client, blob: &Blob) -> Result<Value, Fatal> {
    Ok(serde_json::from_slice(&jobs.read_blob(blob, SHOWN).await?)?)
}

impl Step {
    fn of(event: Event) -> Option<Self> {
        let what = match event.body {
            EventBody::State { to, attempt, cause, error, .. } => {
                let why = error.map(|error| format!(": {}", error.message)).unwrap_or_default();
                match (cause, to) {
                    (Cause::Inserted, _) => "received".to_owned(),
                    (Cause::Claimed, _) => format!("attempt {attempt} begins"),
                    (Cause::Settled, State::Completed) => "completed".to_owned(),
                    (Cause::Settled, State::Retryable) => format!("attempt {attempt} failed{why}"),
                    (Cause::Settled, State::Available) => {
                        format!("attempt {attempt} was given back")
                    }
                    (Cause::Rescued, State::Discarded) => {
                        format!("given up, its worker was lost{why}")
                    }
                    (Cause::Rescued, _) => format!("its worker was lost{why}"),
                    (_, State::Discarded) => format!("given up{why}"),
                    (_, State::Cancelled) => format!("cancelled{why}"),
                    (Cause::Changed, _) => "retried".to_owned(),
                    (_, to) => to.to_string(),
                }
            }
            EventBody::CancelRequested { .. } => "asked to cancel".to_owned(),
            EventBody::Note(Note::Log { message, .. }) => message,
            _ => return None,
        };
        Some(Self { at: event.at, what })
    }
}
