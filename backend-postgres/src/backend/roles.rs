//! Scripts for database administrators.

use windlass_core::Result;

use crate::PostgresBackend;
use crate::options::check_schema;
use crate::schema;

/// What a database role may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// x
    Producer,
}

impl PostgresBackend {
    /// x
    pub fn migrations_sql(schema: &str) -> Result<String> {
        check_schema(schema)?;
        Ok(schema::script(schema))
    }
}
