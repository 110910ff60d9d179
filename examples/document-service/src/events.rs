//! What happens to a user's jobs, as server-sent events.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::{Stream, StreamExt, stream};
use jiff::Timestamp;
use uuid::Uuid;
use windlass::{EventBody, EventFilter, Followed, JobId, Note, Position, Since};

use crate::app::App;
use crate::auth::User;
use crate::compare::Compare;
use crate::error::Failed;
use crate::view::View;

/// Jobs of which a connection remembers whose they are.
const REMEMBERED: usize = 10_000;

/// Where an empty feed begins.
const BEGINNING: Position = Position { seq: 0, job: JobId::from_uuid(Uuid::nil()) };

/// Events: `ready` at the beginning, `job` with the job as listings show it. A client that comes back with `Last-Event-ID` is told what it missed,
/// and `reload` when that can't be told any more.
pub async fn follow(
    State(app): State<Arc<App>>,
    user: User,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failed> {
    let last = headers.get("last-event-id").filter(|id| !id.is_empty());
    let end = app.jobs.backend().tail().await?.unwrap_or(BEGINNING);
    // What is no position of this feed, or not yet one, is of another feed.
    let seen = last.and_then(|id| id.to_str().ok()?.parse().ok());
    let seen = seen.filter(|seen: &Position| seen.seq <= end.seq);
    let lost = last.is_some() && seen.is_none();
    let seen = seen.unwrap_or(end);
    let filter = EventFilter::default().kind_of::<Compare>()?;
    let news = app.jobs.subscribe(filter, Since::After(seen)).await?;

    // With its position, so that a client that is cut off before anything else knows where it was.
    let ready = Event::default().event("ready").id(seen.to_string()).data("{}");
    let begin = [Some(ready), lost.then(reload)].into_iter().flatten().map(Ok);
    let ends = app.stop.clone();
    let left = user.expires_at.saturating_sub(Timestamp::now().as_second());
    let expiry = tokio::time::sleep(Duration::from_secs(left.try_into().unwrap_or_default()));
    let over = async move {
        tokio::select! {
            () = ends.cancelled() => {}
            () = expiry => {}
        }
    };
    let follower = Follower { app, user, whose: HashMap::new() };
    let news = stream::unfold((news, follower), |(mut news, mut follower)| async {
        loop {
            // After an error the client comes back by itself.
            let followed = news.next().await?.ok()?;
            if let Some(event) = follower.tell(followed).await.ok()? {
                return Some((Ok(event), (news, follower)));
            }
        }
    });
    let events = stream::iter(begin).chain(news).take_until(over);
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// Tells a client to read the listing anew.
fn reload() -> Event {
    Event::default().event("reload").data("{}")
}

struct Follower {
    app: Arc<App>,
    user: User,
    whose: HashMap<JobId, bool>,
}

impl Follower {
    async fn tell(&mut self, followed: Followed) -> Result<Option<Event>, Failed> {
        let Followed::Event(event) = followed else {
            return Ok(Some(reload()));
        };
        // Log lines change nothing that a listing shows.
        if matches!(event.body, EventBody::Note(Note::Log { .. } | Note::Host { .. }))
            || !self.owns(event.job).await?
        {
            return Ok(None);
        }
        let Some(record) = self.app.jobs.get(event.job).await? else { return Ok(None) };
        let view = View::of(&self.app, &self.user, record).await?;
        let told = Event::default().event("job").id(event.position.to_string());
        told.json_data(view).map(Some).map_err(Failed::internal)
    }

    async fn owns(&mut self, job: JobId) -> Result<bool, Failed> {
        if let Some(known) = self.whose.get(&job) {
            return Ok(*known);
        }
        let owns = self.app.data.document(&self.user.id, job).await?.is_some();
        if self.whose.len() >= REMEMBERED {
            self.whose.clear();
        }
        self.whose.insert(job, owns);
        Ok(owns)
    }
}
