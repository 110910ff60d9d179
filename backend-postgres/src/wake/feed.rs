//! Looks for growth of the feed while somebody watches it: what other processes add is told by nobody.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Row as _;
use tokio::time::sleep;
use windlass_core::Result;

use super::Shared;
use super::seldom::Seldom;
use crate::error::map;
use crate::sql::query;

/// Between two looks while the feed grows, while it doesn't, and while looking fails.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(10), Duration::from_millis(100), Duration::from_secs(2)];

/// Looks, for ever.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut warning = Seldom::default();
    // No number: the first look may find what came in before it and after the watcher's own.
    let mut known = -1;
    let mut pause = PAUSES[0];
    loop {
        shared.board.watched().await;
        match look(&shared, known).await {
            Ok(last) if last == known => pause = (pause * 2).min(PAUSES[1]),
            Ok(last) => {
                (known, pause) = (last, PAUSES[0]);
                shared.board.grown();
            }
            Err(error) => {
                pause = (pause * 2).min(PAUSES[2]);
                warning.warn("growth of the feed is not seen; its readers poll", &error);
            }
        }
        sleep(pause).await;
    }
}

/// Up to which number all entries can be read.
async fn look(shared: &Shared, known: i64) -> Result<i64> {
    let line = &shared.line;
    let rows = line.session.fetch("watch", query(&line.sql.watch).bind(known)).await?;
    let last = rows.first().map(|row| row.try_get(0)).transpose();
    Ok(last.map_err(map("watch"))?.unwrap_or(known))
}
