//! Scripts for those who manage the database.

use windlass_core::Result;

use crate::PostgresBackend;
use crate::options::{check_schema, config};
use crate::schema;

/// What a role of the database may do, see [`PostgresBackend::grants_sql`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Enqueue jobs, with unique keys and blobs, and nothing else: no args, results, errors and blobs can be read, no job can be claimed, settled, changed or
    /// deleted, but a waiting one that holds a unique key can be replaced by who names the key, and no queue can be configured. The crate's
    /// documentation lists what a producer could do by SQL of its own beyond that. One thing is left to workers: a unique key whose holder's
    /// worker is lost stays held until their maintenance has rescued the job, and until then inserting a job with that key fails for lack of a privilege.
    Producer,
    /// All that workers and their maintenance do: claim, settle, rescue, prune, and enqueue. That takes the right to change any job, so that a worker's
    /// role can cancel, retry and delete jobs as well. Settings of queues can be read only.
    Worker,
    /// Everything but changes of the schema. Changing settings of queues is all that it may beyond [`Worker`](Self::Worker).
    Operator,
    /// Read everything, args and results as well, and change nothing.
    Reader,
}

/// Statements of grants for each role, one a line, with `{r}` for the role.
const PRODUCER: &str = "\
GRANT SELECT, USAGE ON windlass.feed, windlass.turn, windlass.blob_ids TO {r};
GRANT INSERT (id, state, queue, kind, priority, rank, due_at, max_attempts, timeout, created_at, unique_key, unique_mode, unique_until, meta, tags, \
encoding, args, trail) ON windlass.jobs TO {r};
GRANT INSERT ON windlass.counts, windlass.events, windlass.unique_keys, windlass.job_blobs TO {r};
GRANT SELECT (id, state, worker) ON windlass.jobs TO {r};
GRANT SELECT (id) ON windlass.finished TO {r};
GRANT SELECT (id, expires_at) ON windlass.workers TO {r};
GRANT SELECT (id), INSERT ON windlass.outbox TO {r};
GRANT SELECT ON windlass.migrations, windlass.counts, windlass.queues, windlass.unique_keys TO {r};
GRANT SELECT, INSERT, UPDATE (due_at), DELETE ON windlass.blobs_doomed, windlass.blob_trash TO {r};
GRANT SELECT, INSERT, UPDATE (id, len, modified_at, replaced) ON windlass.blobs TO {r};
GRANT SELECT (id), INSERT ON windlass.blob_chunks TO {r};
";
const WORKER: &str = "\
GRANT SELECT, USAGE ON ALL SEQUENCES IN SCHEMA {s} TO {r};
GRANT SELECT ON ALL TABLES IN SCHEMA {s} TO {r};
GRANT INSERT, UPDATE, DELETE ON windlass.jobs, windlass.finished, windlass.unique_keys, windlass.workers, windlass.counts, windlass.events, \
windlass.job_blobs, windlass.blobs_doomed, windlass.blobs, windlass.blob_chunks, windlass.blob_trash, windlass.outbox TO {r};
GRANT UPDATE ON windlass.horizon TO {r};
";
const OPERATOR: &str = "GRANT INSERT, UPDATE, DELETE ON windlass.queues TO {r};\n";
const READER: &str = "\
GRANT SELECT ON ALL SEQUENCES IN SCHEMA {s} TO {r};
GRANT SELECT ON ALL TABLES IN SCHEMA {s} TO {r};
";

impl PostgresBackend {
    /// Everything that makes the schema, or brings it up to date and notes its version, for those who run migrations by other means, such as `psql`.
    /// Running it again does no harm. Whoever opens the backend then needs no right to create anything.
    ///
    /// # Errors
    /// [`Error::Config`](windlass_core::Error::Config) when the schema can't have that name.
    pub fn migrations_sql(schema: &str) -> Result<String> {
        check_schema(schema)?;
        Ok(schema::script(schema))
    }

    /// The grants that a database role needs, for whoever owns the schema to run once the schema is there, and again after each upgrade. The role is not
    /// created, and nothing that it may already do is taken from it.
    ///
    /// # Errors
    /// [`Error::Config`](windlass_core::Error::Config) when the schema can't have that name, or no role can.
    pub fn grants_sql(schema: &str, role: Role, name: &str) -> Result<String> {
        check_schema(schema)?;
        let quoted = quote(name)?;
        let grants = match role {
            Role::Producer => PRODUCER.to_owned(),
            Role::Worker => WORKER.to_owned(),
            Role::Operator => format!("{WORKER}{OPERATOR}"),
            Role::Reader => READER.to_owned(),
        };
        let mut always = "GRANT USAGE ON SCHEMA {s} TO {r};\n".to_owned();
        if role != Role::Reader {
            always.push_str("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {s} TO {r};\n");
        }
        // The name comes last: it may hold anything.
        let text = crate::sql::render(&format!("{always}{grants}"), schema);
        Ok(text.replace("{s}", &format!("\"{schema}\"")).replace("{r}", &quoted))
    }
}

/// The name of a role as an identifier.
fn quote(name: &str) -> Result<String> {
    if name.is_empty() || name.len() > 63 || name.chars().any(char::is_control) {
        return Err(config("the name of a role must have 1 to 63 bytes and no control characters"));
    }
    Ok(format!("\"{}\"", name.replace('"', "\"\"")))
}
