//! PostgreSQL.

mod address;
mod builder;
mod server;
mod shared;
mod template;
pub(crate) mod tls;

pub use address::Postgres;
pub use builder::{Auth, PostgresBuilder};
pub use server::PostgresServer;
