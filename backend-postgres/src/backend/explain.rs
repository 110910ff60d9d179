//! Why the database can't be opened, and the way out.

use sqlx::error::DatabaseError;
use windlass_core::Error;

use crate::error::{state, translate};
use crate::options::{PostgresOptions, config};

/// An error while opening. The server's own message is told where it helps; it quotes no password.
pub(crate) fn explain(options: &PostgresOptions, error: sqlx::Error) -> Error {
    let said = error.as_database_error().map(DatabaseError::message).unwrap_or_default();
    match (state(&error).as_deref(), &error) {
        (Some(state), _) => match refused(options, state, said) {
            Some(why) => config(why),
            None => translate("open", error),
        },
        (None, sqlx::Error::Tls(why)) => tls(&why.to_string()),
        (None, sqlx::Error::Io(why)) if why.to_string().contains("certificate") => {
            tls(&why.to_string())
        }
        (None, sqlx::Error::Io(why)) if is_unknown_host(why) => config(format!(
            "the host `{}` is not known: check its name in the URL",
            options.connect.get_host()
        )),
        (None, sqlx::Error::Configuration(why)) => {
            config(format!("the connection can't be made as it is described: {why}"))
        }
        (None, sqlx::Error::Io(why)) => {
            let told = format!("{}: {why}", place(options));
            translate("open", sqlx::Error::Io(std::io::Error::new(why.kind(), told)))
        }
        _ => translate("open", error),
    }
}

/// Where the server should be.
fn place(options: &PostgresOptions) -> String {
    let (host, port) = (options.connect.get_host(), options.connect.get_port());
    match options.connect.get_socket() {
        Some(socket) => format!("{}, port {port}", socket.display()),
        None => format!("{host}:{port}"),
    }
}

/// What the server refused for good.
fn refused(options: &PostgresOptions, state: &str, said: &str) -> Option<String> {
    let user = options.connect.get_username();
    let database = options.connect.get_database().unwrap_or(user);
    Some(match state {
        "3D000" => format!(
            "the database `{database}` does not exist: create it (`CREATE DATABASE`), or name another one in the URL"
        ),
        "28000" if said.contains("no encryption") => format!(
            "the server takes only encrypted connections from here ({said}): {}",
            if cfg!(feature = "tls") { "use `sslmode=require` or stricter" } else { TURN_ON }
        ),
        "28P01" | "28000" => format!(
            "the server does not let the user `{user}` in ({said}): check name and password, and the server's `pg_hba.conf`"
        ),
        "42501" => format!(
            "the user `{user}` lacks a privilege ({said}): grant what `PostgresBackend::grants_sql` gives, and let a role that may create the \
             schema run the migrations"
        ),
        "08P01" if said.contains("startup parameter") => format!(
            "a pooler refused the connection ({said}): say `pooler=transaction` in the URL, or name the server itself"
        ),
        _ => return None,
    })
}

const TURN_ON: &str = "turn on the cargo feature `tls` of windlass-postgres";

fn tls(why: &str) -> Error {
    if why.contains("does not support TLS") {
        return config(
            "the server takes no encrypted connections: turn them on there, or say `sslmode=disable` if the way to it is safe",
        );
    }
    config(format!(
        "no encrypted connection can be made ({why}): name the certificate of the server's authority by `sslrootcert`, and the host as the \
         server's certificate does"
    ))
}

/// Whether the name of the host is wrong, and not the name service slow.
fn is_unknown_host(error: &std::io::Error) -> bool {
    let text = error.to_string();
    text.contains("failed to lookup address") && !text.contains("Temporary failure")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_host_is_told_from_a_name_service_that_is_slow() {
        let options =
            PostgresOptions::from_url("postgres://u:hunter2@nohost.invalid/x?sslmode=prefer")
                .unwrap();
        let failed = |text: &str| explain(&options, sqlx::Error::Io(std::io::Error::other(text)));
        let unknown = failed("failed to lookup address information: Name or service not known");
        assert!(unknown.to_string().contains("host `nohost.invalid` is not known"), "{unknown}");
        let slow =
            failed("failed to lookup address information: Temporary failure in name resolution");
        assert!(slow.is_transient(), "{slow}");
    }
}
