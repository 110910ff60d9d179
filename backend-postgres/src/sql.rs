//! The statements, with the schema's name put in.

use sqlx::postgres::PgArguments;
use sqlx::{AssertSqlSafe, Postgres, SqlSafeStr, SqlStr};

pub(crate) type Query = sqlx::query::Query<'static, Postgres, PgArguments>;

/// Puts a schema's name into a text of the library. The name was checked to be plain, see
/// [`PostgresOptions::schema`](crate::PostgresOptions::schema).
pub(crate) fn render(text: &str, schema: &str) -> String {
    let class = class(schema).to_string();
    text.replace("windlass.", &format!("\"{schema}\"."))
        .replace("SCHEMA IF NOT EXISTS windlass", &format!("SCHEMA IF NOT EXISTS \"{schema}\""))
        .replace("$class$", &class)
}

/// The class of the schema's advisory locks: positive, and the same in every process.
pub(crate) fn class(schema: &str) -> i32 {
    // FNV-1a, which is stable across builds, unlike the standard library's hasher.
    let hash = schema
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    i32::try_from(hash & 0x7fff_ffff).unwrap_or(1)
}

macro_rules! statements {
    ($($name:ident)*) => {
        /// Every statement, named after its file.
        #[derive(Debug)]
        pub(crate) struct Statements { $(pub(crate) $name: SqlStr),* }

        impl Statements {
            pub(crate) fn new(schema: &str) -> Self {
                Self { $($name: safe(render(
                    include_str!(concat!("sql/", stringify!($name), ".sql")), schema,
                ))),* }
            }

            /// All of them, for the tests that prepare each.
            #[cfg(test)]
            pub(crate) fn all(&self) -> Vec<(&'static str, SqlStr)> {
                vec![$((stringify!($name), self.$name.clone())),*]
            }
        }
    };
}

statements! {
    get goes_on events history list_newest list_oldest queue_settings settled stats tail workers prune_blobs prune_events prune_jobs
    blob_begin blob_chunk blob_delete blob_give_up blob_head blob_list blob_publish blob_put blob_read blob_sweep
    apply_final apply_revived apply_waiting begin blobs_deleted blobs_named blobs_refer blobs_release blobs_stage change_cancelling change_filter change_still
    claim claim_heads claim_one claim_resend commits configure_queue delete_jobs draw flush insert insert_depths insert_known insert_lock_depths
    insert_one insert_plain insert_replace insert_replace_lock isolation join lock_finished lock_jobs lock_owned lock_owned_free lock_queue maintain_counts maintain_lost maintain_overdue
    maintain_peek maintain_promote maintain_unique maintain_workers notes notes_any notify outbox_delivered outbox_post outbox_put_back outbox_refused
    outbox_stats outbox_take ping rescue_alive rescue_lock
    settle_already settle_busy settle_complete trail_read trail_write unique_drop unique_free unique_holders unique_take watch worker_deregister
    worker_heartbeat worker_owned worker_register
}

/// A text of the library's own in which nothing but the checked name of the schema was put.
pub(crate) fn safe(text: String) -> SqlStr {
    AssertSqlSafe(std::sync::Arc::<str>::from(text)).into_sql_str()
}

/// A query for one of the statements.
pub(crate) fn query(statement: &SqlStr) -> Query {
    sqlx::query(statement.clone())
}

/// A size as Postgres's integer.
pub(crate) fn size(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_quoted_wherever_it_stands() {
        let text =
            render("SELECT nextval('windlass.feed') FROM windlass.jobs -- $class$", "my_app");
        assert!(text.starts_with("SELECT nextval('\"my_app\".feed') FROM \"my_app\".jobs -- "));
        assert!(class("my_app") > 0 && class("my_app") != class("windlass"));
    }
}
