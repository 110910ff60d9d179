//! The driver's errors in the library's terms.

use redis::{ErrorKind, RedisError, ServerErrorKind};
use windlass_core::Error;

/// The backend's name in errors and logs.
pub(crate) const NAME: &str = "redis";

/// The code of errors that the library's own scripts raise.
const OWN: &str = "WINDLASS";

/// Translates a driver error that came up while `during` was under way.
pub(crate) fn translate(during: &'static str, error: RedisError) -> Error {
    if error.kind() == ErrorKind::Client && error.to_string().starts_with("closed") {
        return Error::Closed(NAME);
    }
    if error.code() == Some(OWN) {
        return own(during, error.detail().unwrap_or_default());
    }
    let passing = is_passing(&error);
    let source = Fault(error).into();
    if passing {
        Error::Unavailable { backend: NAME, during, source }
    } else {
        Error::Backend { backend: NAME, during, source }
    }
}

/// What a script found wrong. The server adds where in the script that was.
fn own(during: &'static str, detail: &str) -> Error {
    let what = without_place(detail);
    let (code, role) = what.split_once(' ').unwrap_or((what, ""));
    let source = match code {
        "TYPE" => format!(
            "the key that holds the {role} holds something else, of another type: another program uses the namespace; nothing was written"
        ),
        "RIGHT" => format!(
            "the user lacks a right that a script needs, `+{role}`: the documentation of the crate lists all; nothing was written"
        ),
        "ARGUMENT" => format!(
            "a script was sent a {role} that it can't read: versions of the library that don't fit together share the namespace, or this is a bug; nothing was written"
        ),
        "DAMAGED" => format!("a stored {role} can't be read"),
        other => format!("a script failed: {other} {role}"),
    };
    Error::Backend { backend: NAME, during, source: source.into() }
}

/// Whether a server says that it is not the one for the namespace, or not now: another may be.
pub(crate) fn is_misled(error: &RedisError) -> bool {
    use ServerErrorKind as S;
    matches!(
        error.kind(),
        ErrorKind::Server(S::ReadOnly | S::MasterDown | S::Moved | S::ClusterDown)
    ) || error.code() == Some("UNBLOCKED")
        || is_left_by_slot(error)
}

/// Scripts that find out inside that the cluster is down or the slot on its way to another node. They have written nothing: every key is looked at first.
fn is_left_by_slot(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::ResponseError)
        && error.detail().is_some_and(|told| {
            told.starts_with("Script attempted to")
                && (told.contains("non local key") || told.contains("cluster is down"))
        })
}

/// Whether the same call may succeed later without any change by the caller.
fn is_passing(error: &RedisError) -> bool {
    use ServerErrorKind as S;
    if is_misled(error) {
        return true;
    }
    match error.kind() {
        ErrorKind::Io | ErrorKind::AuthenticationFailed | ErrorKind::ClusterConnectionNotFound => {
            true
        }
        ErrorKind::MasterNameNotFoundBySentinel | ErrorKind::NoValidReplicasFoundBySentinel => true,
        ErrorKind::Server(S::ResponseError) => {
            // A user whose rights are being changed, or a server that is going down.
            error.detail().is_some_and(|text| text.contains("shutting down"))
        }
        ErrorKind::Server(S::NoPerm | S::CrossSlot | S::NoSub | S::NotBusy | S::ExecAbort) => false,
        ErrorKind::Server(_) => true,
        ErrorKind::Extension => matches!(
            error.code(),
            Some("OOM" | "BUSY" | "NOREPLICAS" | "MISCONF" | "NOAUTH" | "WRONGPASS" | "UNKILLABLE")
        ),
        ErrorKind::Parse => true,
        _ => error.is_timeout() || error.is_connection_dropped(),
    }
}

/// What is wrong with the certificate of a server, if that is why there is no connection to it.
pub(crate) fn certificate_error(error: &RedisError) -> Option<String> {
    let told = error.to_string();
    let (_, why) = told.split_once("invalid peer certificate: ")?;
    Some(why.to_owned())
}

/// What servers say when a script may not run a command; from 7.2 on they name it.
fn lacks_a_right(told: &str) -> bool {
    ["The user executing the script", "ACL failure in script"]
        .iter()
        .any(|text| told.starts_with(text))
}

/// A server's message without the place in a script, which stands behind it.
fn without_place(told: &str) -> &str {
    match told.rsplit_once(" script: ") {
        Some((message, place)) if place.contains("@user_script") => message,
        _ => told,
    }
}

fn hint(error: &RedisError) -> &'static str {
    match error.code() {
        Some("OOM") => {
            "the server is at its `maxmemory`: let it have more, or keep finished jobs for a shorter time"
        }
        Some("BUSY") => "a script or function holds up the server",
        Some("NOREPLICAS") => "the server wants more replicas in sync (`min-replicas-to-write`)",
        Some("MISCONF") => "the server can't write to its disk and takes no writes until it can",
        Some("NOAUTH" | "WRONGPASS") => {
            "the server does not let this user in: check its name and password"
        }
        Some("NOPERM") => {
            "the user lacks a right: see the list of rights in the documentation of the crate"
        }
        Some("READONLY") => "the server takes no writes: it is a replica",
        Some("LOADING") => "the server is loading its data",
        Some("ASK" | "TRYAGAIN" | "MOVED") => {
            "the slot of the namespace is being moved to another node of the cluster"
        }
        Some("CLUSTERDOWN") => "the cluster does not serve the slot of the namespace now",
        Some("MASTERDOWN") => "the server has lost its master",
        Some("UNBLOCKED") => "the server became a replica in mid-call",
        _ if error.detail().is_some_and(lacks_a_right) => {
            "the user lacks a right that a script needs: `ACL LOG` on the server names it, and the documentation of the crate lists all"
        }
        _ if is_left_by_slot(error) => {
            "the slot of the namespace is being moved to another node of the cluster, or the cluster is down"
        }
        _ if error.is_timeout() => "the server did not answer in time",
        _ if error.is_io_error() || error.is_connection_dropped() => {
            "the connection to the server failed"
        }
        _ => "",
    }
}

/// A driver error with the way out.
struct Fault(RedisError);

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.0.to_string();
        let text = without_place(&text);
        match hint(&self.0) {
            "" => f.write_str(text),
            hint => write!(f, "{hint} ({text})"),
        }
    }
}

impl std::fmt::Debug for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fault({self})")
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_connection_is_transient_and_named() {
        let lost = RedisError::from(std::io::Error::other("connection reset"));
        let error = translate("claim", lost);
        assert!(error.is_transient());
        assert_eq!(error.to_string(), "redis is unavailable during claim");
    }

    #[test]
    fn a_key_of_another_type_is_named_by_its_role() {
        let error = own("insert", "TYPE unique keys script: 123, on @user_script:7.");
        let Error::Backend { source, .. } = &error else { panic!("{error:?}") };
        assert!(source.to_string().contains("holds the unique keys"), "{source}");
        assert!(!error.is_transient());
    }

    #[test]
    fn a_right_that_a_script_lacks_is_told_whatever_the_server_calls_it() {
        for told in [
            "The user executing the script can't run this command or subcommand",
            "ACL failure in script: User u has no permissions to run the 'set' command",
        ] {
            assert!(lacks_a_right(told));
            let placed = format!("{told} script: 0a9f, on @user_script:1.");
            assert_eq!((without_place(&placed), without_place(told)), (told, told));
        }
    }
}
