//! A server that answers at an address, whoever started it.

use std::fmt;

use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, ValueRef};
use url::Url;

use crate::error::{Context, Error, Result};

/// Begins the names of databases. They are never removed from a server that was given by `DATABASE_URL`.
const DATABASE: &str = "windlass_test_";
/// Begins the names of schemas that stand for databases.
const SCHEMA: &str = "windlass_schema_";
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// A PostgreSQL server in which tests make databases.
#[derive(Clone)]
pub struct Postgres {
    /// A superuser's, or that of `DATABASE_URL`.
    base: Url,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("host", &self.base.host_str())
            .field("port", &self.port())
            .finish()
    }
}

impl Postgres {
    pub(super) fn new(url: &str) -> Result<Self> {
        // The text is not shown: it can hold a password.
        Ok(Self { base: Url::parse(url).context(|| "the server's URL".to_owned())? })
    }

    /// The same databases and users, reached by another port of 127.0.0.1: that of a proxy or a pooler before the server.
    #[must_use]
    pub fn at_port(&self, port: u16) -> Self {
        let mut base = self.base.clone();
        // Neither fails with a host in the URL.
        let _ = base.set_host(Some("127.0.0.1"));
        let _ = base.set_port(Some(port));
        Self { base }
    }

    /// The server's port.
    pub fn port(&self) -> u16 {
        self.base.port().unwrap_or(5432)
    }

    /// The user of [`url`](Self::url): `postgres`, or that of `DATABASE_URL`.
    pub fn user(&self) -> &str {
        self.base.username()
    }

    /// The password in [`url`](Self::url), so that a test can look for it where it must not be.
    pub fn password(&self) -> &str {
        self.base.password().unwrap_or_default()
    }

    /// The URL of a database, `postgres` or one from [`create_database`](Self::create_database). Holds the password.
    pub fn url(&self, database: &str) -> String {
        self.place(database).into()
    }

    /// As [`url`](Self::url), for another user.
    pub fn url_as(&self, user: &str, password: &str, database: &str) -> String {
        let mut url = self.place(database);
        // Neither fails with a host in the URL.
        let _ = url.set_username(user);
        let _ = url.set_password(Some(password));
        url.into()
    }

    fn place(&self, database: &str) -> Url {
        let mut url = self.base.clone();
        if database.starts_with(SCHEMA) {
            let before = url.query().map(|query| format!("{query}&")).unwrap_or_default();
            url.set_query(Some(&format!("{before}options=-c%20search_path%3D{database}")));
        } else {
            url.set_path(database);
        }
        url
    }

    /// Makes an empty database and returns its name, for [`url`](Self::url).
    ///
    /// On a server from `DATABASE_URL` whose user may not do that, makes a schema in its database instead; `url` then sets the
    /// search path. Databases named `windlass_test_…` and schemas named `windlass_schema_…` stay on such a server; drop them as you like.
    pub async fn create_database(&self) -> Result<String> {
        let number = fastrand::u64(..);
        let name = format!("{DATABASE}{number:016x}");
        match self.run(&self.base, format!("CREATE DATABASE {name}")).await {
            Ok(_) => Ok(name),
            Err(sqlx::Error::Database(e))
                if e.code().as_deref() == Some(INSUFFICIENT_PRIVILEGE) =>
            {
                let name = format!("{SCHEMA}{number:016x}");
                self.run(&self.base, format!("CREATE SCHEMA {name}"))
                    .await
                    .context(|| "neither a database nor a schema could be made".to_owned())?;
                Ok(name)
            }
            Err(e) => Err(explain("CREATE DATABASE", &e)),
        }
    }

    /// Runs statements, separated by semicolons, on a connection of their own.
    pub async fn execute(&self, database: &str, sql: &str) -> Result<()> {
        self.run(&self.place(database), sql.to_owned()).await.map_err(|e| explain(sql, &e))?;
        Ok(())
    }

    /// As [`execute`](Self::execute); the first column of the first row as text, `None` without a row or when it is NULL.
    pub async fn value(&self, database: &str, sql: &str) -> Result<Option<String>> {
        let rows =
            self.run(&self.place(database), sql.to_owned()).await.map_err(|e| explain(sql, &e))?;
        let Some(row) = rows.first() else { return Ok(None) };
        let value = row.try_get_raw(0).map_err(|e| explain(sql, &e))?;
        if value.is_null() {
            return Ok(None);
        }
        value.as_str().map(|text| Some(text.to_owned())).context(|| sql.to_owned())
    }

    async fn run(&self, url: &Url, sql: String) -> sqlx::Result<Vec<PgRow>> {
        let options = PgConnectOptions::from_url(url)?.disable_statement_logging();
        let mut conn = options.connect().await?;
        // The simple protocol: several statements, and values as text.
        let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut conn).await?;
        conn.close().await?;
        Ok(rows)
    }
}

fn explain(sql: &str, error: &sqlx::Error) -> Error {
    Error::new(format!("{sql}: {error}"))
}
