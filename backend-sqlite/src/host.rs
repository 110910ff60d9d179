//! What hosts need beside the backend for transactions of their own.

use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnection, SqlitePoolOptions};

/// Options for a pool of the host's on the same file, whose transactions
/// [`Transactional`](windlass_core::Transactional) joins: sqlx's own, with a look at each connection before
/// it is given out.
///
/// When the disk is full or fails, SQLite may take a whole transaction back by itself, in mid-course or at its commit. sqlx takes the
/// connection for one in a transaction from then on: it can't begin another, and a pool would give it out again and again. With these
/// options the pool closes it and opens a new one. [`before_acquire`](SqlitePoolOptions::before_acquire) holds that look; whoever sets another one makes it there.
///
/// ```
/// # async fn open() -> Result<(), sqlx::Error> {
/// let pool = windlass_sqlite::pool_options().max_connections(4).connect("sqlite:app.db").await?;
/// # Ok(())
/// # }
/// ```
pub fn pool_options() -> SqlitePoolOptions {
    // The pool has had an answer from the connection by then, so a rollback that was under way is over.
    let whole = |conn: &SqliteConnection| !conn.is_in_transaction();
    SqlitePoolOptions::new()
        .before_acquire(move |conn, _| Box::pin(std::future::ready(Ok(whole(conn)))))
}
