//! Statements that travel together. The driver runs each call on a thread of its own, and waking it costs more than a
//! small statement: so what needs no answer waits for what does, or for the COMMIT, and goes with it.

use std::fmt::Write;
use std::sync::Arc;

use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, AssertSqlSafe, SqliteConnection};

use crate::batch::size;

/// A statement, or several in one file, with the values of their parameters `?1`, `?2`, and so on.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    sql: &'static str,
    values: Vec<Value>,
    /// How many rows it is to write.
    rows: Option<usize>,
}

/// A value of a parameter.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Int(i64),
    Text(Arc<str>),
    Blob(Vec<u8>),
}

/// A statement without values yet.
pub(crate) fn statement(sql: &'static str) -> Statement {
    Statement { sql, values: Vec::new(), rows: None }
}

impl Statement {
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Makes it an error when the statement does not write just so many rows: one was not as it had been read.
    pub(crate) fn writes(mut self, rows: usize) -> Self {
        self.rows = Some(rows);
        self
    }

    #[cfg(test)]
    pub(crate) fn rows(&self) -> Option<usize> {
        self.rows
    }

    /// The statement without its check.
    #[cfg(test)]
    pub(crate) fn unchecked(self) -> Self {
        Self { rows: None, ..self }
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value.into())
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.into())
    }
}

impl From<&[u8; 16]> for Value {
    fn from(value: &[u8; 16]) -> Self {
        Self::Blob(value.to_vec())
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Blob(value)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Statements to run in one go.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script(Vec<Statement>);

impl From<Statement> for Script {
    fn from(one: Statement) -> Self {
        Self(vec![one])
    }
}

impl Script {
    pub(crate) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn take(&mut self) -> Vec<Statement> {
        std::mem::take(&mut self.0)
    }

    pub(crate) fn push(&mut self, statement: Statement) {
        self.0.push(statement);
    }

    /// Runs the statements; the rows of all come one after another.
    pub(crate) async fn run(self, conn: &mut SqliteConnection) -> sqlx::Result<Vec<SqliteRow>> {
        let (sql, arguments) = self.join().map_err(sqlx::Error::Encode)?;
        sqlx::query_with(AssertSqlSafe(sql), arguments).fetch_all(conn).await
    }

    /// One text with one list of values: the parameters of each statement are numbered on from the one before.
    fn join(self) -> Result<(String, SqliteArguments), sqlx::error::BoxDynError> {
        let mut sql = String::new();
        let mut arguments = SqliteArguments::default();
        let count = |rows| statement(include_str!("sql/written.sql")).bind(size(rows));
        let with_count = |one: Statement| {
            let count = one.rows.map(count);
            std::iter::once(one).chain(count)
        };
        for statement in self.0.into_iter().flat_map(with_count) {
            renumber(&mut sql, statement.sql, arguments.len());
            for value in statement.values {
                match value {
                    Value::Null => arguments.add(None::<i64>)?,
                    Value::Int(value) => arguments.add(value)?,
                    Value::Text(value) => arguments.add(value)?,
                    Value::Blob(value) => arguments.add(value)?,
                }
            }
        }
        Ok((sql, arguments))
    }
}

/// Adds the statements of a file, without its comments, each `?N` as `$(N + offset)`: a name,
/// since SQLite counts unused numbers below the highest as parameters, and the driver then loses its place.
fn renumber(to: &mut String, sql: &str, offset: usize) {
    for line in sql.lines().filter(|line| !line.starts_with("--")) {
        let mut parts = line.split('?');
        to.push_str(parts.next().unwrap_or_default());
        for part in parts {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            let number: usize = part[..digits].parse().unwrap_or(0);
            // Writing to a String never fails.
            let _ = write!(to, "${}{}", number + offset, &part[digits..]);
        }
        to.push('\n');
    }
    to.push(';');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_numbered_on() {
        let mut script = Script::default();
        script.push(statement("-- ?1 left out\nSELECT ?1, ?2,\n  ?1").bind(1_i64).bind("a"));
        script.push(statement("SELECT ?10").bind(Value::Null));
        let (sql, arguments) = script.join().unwrap();
        assert_eq!(sql, "SELECT $1, $2,\n  $1\n;SELECT $12\n;");
        assert_eq!(arguments.len(), 3);
    }
}
