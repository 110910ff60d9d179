//! Opens the backend: on connections of its own, or on the host's pool.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::time::timeout;
use windlass_core::Result;

use super::explain::explain;
use crate::PostgresBackend;
use crate::aside::Aside;
use crate::gather::singles;
use crate::ops::bounds::Bounds;
use crate::ops::maintain::Upkeep;
use crate::options::{PostgresOptions, check_tls, config};
use crate::schema;
use crate::session::{self, Begin, STATEMENT, Session, SessionState, timed_out};
use crate::spare::{FRESH, Held, Spares};
use crate::sql::Statements;
use crate::wake::{Hub, Line};

/// How long to wait for a connection that is tried.
const TRY: Duration = Duration::from_secs(2);
/// The same in errors.
const TRY_LIMIT: &str = "the 2 s that a connection which is tried has";
/// How long to wait for other processes that are making the schema, and then to make it.
const MIGRATION: Duration = Duration::from_secs(600);
/// The same in errors.
const MIGRATION_LIMIT: &str =
    "the 600 s that making the schema may take, or waiting for another process that makes it";

impl PostgresBackend {
    /// Opens the database with connections of its own, and creates or upgrades the schema unless that was
    /// [turned off](PostgresOptions::migrate). Any number of processes may do so at once.
    ///
    /// # Errors
    /// [`Error::Config`](windlass_core::Error::Config) naming the way out: no such database or host, a user or password that is refused, a server before version 14,
    /// a database whose encoding isn't UTF8, encryption that is missing on one side, a schema that is missing, that may not be created or is newer than
    /// this library. [`Error::Unavailable`](windlass_core::Error::Unavailable) when the server can't be reached. None shows the password.
    pub async fn open(options: PostgresOptions) -> Result<Self> {
        check_tls(&options.connect)?;
        if let Some(direct) = &options.direct {
            check_tls(direct)?;
        }
        // Migrations take the time that they take.
        let connect = session::own(&options.connect, options.pooled).disable_statement_logging();
        let mut conn = first(&options, &connect).await?;
        if !options.pooled {
            let checked = timeout(options.statement_timeout, session::check(&mut conn)).await;
            let arrived = checked.unwrap_or_else(|_| Err(timed_out(STATEMENT)));
            if !arrived.map_err(|error| explain(&options, error))? {
                return Err(config(
                    "the settings that connections begin with do not arrive at the server: a pooler in between drops them (`ignore_startup_parameters`); \
                     say `pooler=transaction`, whatever its mode is",
                ));
            }
        }
        migrate(&mut conn, &options).await?;
        // It has done its work; a failure to part is the server's.
        let _ = timeout(TRY, conn.close()).await;
        let timeout = options.statement_timeout;
        let connect = session::bounded(&options.connect, options.pooled, timeout);
        let pool = pool(&options, connect.disable_statement_logging());
        Ok(Self::assemble(options, pool, false))
    }

    /// Opens the database that a URL names, see [`PostgresOptions::from_url`].
    ///
    /// # Errors
    /// Those of [`PostgresOptions::from_url`] and [`open`](Self::open).
    pub async fn connect(url: &str) -> Result<Self> {
        Self::open(PostgresOptions::from_url(url)?).await
    }

    /// Opens the database that the host's own pool leads to. How to connect and how many connections there are is the pool's affair; of the options the
    /// rest holds. Each worker's heartbeats, and `LISTEN`, still use a connection of their own, made as the pool makes its own but without its hooks.
    /// If the pool leads to a pooler in transaction mode, [`pooled`](PostgresOptions::pooled) must be set. [`close`](windlass_core::Backend::close)
    /// leaves the pool open.
    ///
    /// On such a pool every statement runs in a transaction of its own, which takes two more round trips than on the library's own connections.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub async fn with_pool(pool: PgPool, mut options: PostgresOptions) -> Result<Self> {
        options.connect = PgConnectOptions::clone(&pool.connect_options());
        let conn = pool.acquire().await.map_err(|error| explain(&options, error))?;
        // One that failed, or was given up, may still be in a transaction: it goes back to no pool.
        let mut held = Held::hosts(conn);
        migrate(held.conn().map_err(|error| explain(&options, error))?, &options).await?;
        held.ended(true);
        drop(held);
        Ok(Self::assemble(options, pool, true))
    }

    fn assemble(options: PostgresOptions, pool: PgPool, hosts: bool) -> Self {
        let sql = Arc::new(Statements::new(&options.schema));
        let own = !hosts && !options.pooled;
        let session = Session {
            pool,
            own,
            begin: Begin::new(own, options.statement_timeout, options.lock_timeout),
            pooled: options.pooled,
            statement_timeout: options.statement_timeout,
            hosts,
            spares: Spares::new(options.connections),
            state: Arc::new(SessionState::default()),
        };
        let connect = options.connect.clone().disable_statement_logging();
        let line = Line::new(&options, &connect, session.clone(), sql.clone());
        Self {
            aside: Arc::new(Aside::new(&options, &connect, sql.clone())),
            hub: Arc::new(Hub::new(line)),
            bounds: Arc::new(Bounds::new(options.sweeps)),
            outbox: Arc::default(),
            claims: Arc::default(),
            gather: Arc::new(singles()),
            upkeep: Arc::new(Upkeep::new(options.sweeps)),
            options: Arc::new(options),
            session,
            sql,
        }
    }
}

/// The first connection is made apart from the pool, which would try again and again and then say only that it took too long.
async fn first(options: &PostgresOptions, connect: &PgConnectOptions) -> Result<PgConnection> {
    let conn = timeout(options.acquire_timeout, connect.connect()).await;
    let late = || timed_out(format_args!("the `acquire_timeout` of {:?}", options.acquire_timeout));
    conn.unwrap_or_else(|_| Err(late())).map_err(|error| explain(options, error))
}

async fn migrate(conn: &mut PgConnection, options: &PostgresOptions) -> Result<()> {
    match timeout(MIGRATION, schema::prepare(conn, options)).await {
        Ok(done) => done,
        Err(_) => Err(explain(options, timed_out(MIGRATION_LIMIT))),
    }
}

fn pool(options: &PostgresOptions, connect: PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .min_connections(0)
        .max_connections(options.connections)
        .acquire_timeout(options.acquire_timeout)
        .test_before_acquire(false)
        .before_acquire(|conn, meta| {
            Box::pin(async move {
                if meta.idle_for <= FRESH {
                    return Ok(true);
                }
                Ok(matches!(timeout(TRY, conn.ping()).await, Ok(Ok(()))))
            })
        })
        // The driver asks as well, and waits for the answer as long as the network does, with the place taken.
        .after_release(|conn, _| {
            Box::pin(async move {
                let asked = timeout(TRY, conn.ping()).await;
                asked.unwrap_or_else(|_| Err(timed_out(TRY_LIMIT))).map(|()| true)
            })
        })
        .connect_lazy_with(connect)
}
