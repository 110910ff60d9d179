//! What the server's settings make of an answer: read at opening, and compared with what the host demands.

use redis::{RedisError, Value};
use windlass_core::Result;

use super::Inner;
use crate::link::Line;
use crate::options::{Durability, config};
use crate::wire;

/// The settings that decide.
#[derive(Debug, PartialEq, Eq)]
struct Settings {
    policy: String,
    appended: bool,
    /// `always`, `everysec` or `no`; `None` when the server doesn't tell.
    synced: Option<String>,
}

/// Reads the settings, refuses what is less than demanded, and warns of what nobody demanded.
pub(super) async fn check(
    inner: &Inner,
    explain: impl Fn(RedisError) -> windlass_core::Error,
) -> Result<()> {
    let durability = inner.options.durability;
    if durability == Durability::None {
        return Ok(());
    }
    let mut info = redis::cmd("INFO");
    info.arg("memory").arg("persistence");
    let told = wire::text(inner.main.send(&info).await.map_err(explain)?)?;
    let mut sync = redis::cmd("CONFIG");
    sync.arg("GET").arg("appendfsync");
    // Not every user may ask, and not every server answers.
    let synced = match inner.main.send(&sync).await {
        Ok(Value::Array(mut pair)) if pair.len() == 2 => pair.pop().map(wire::text).transpose()?,
        _ => None,
    };
    match judge(&read(&told, synced), durability) {
        Verdict::Fine => Ok(()),
        Verdict::Warn(why) => {
            tracing::warn!("{why}");
            Ok(())
        }
        Verdict::Refuse(why) => Err(config(why)),
    }
}

fn read(told: &str, synced: Option<String>) -> Settings {
    let value = |name: &str| {
        let of = |line: &str| Some(line.trim().strip_prefix(name)?.strip_prefix(':')?.to_owned());
        told.lines().find_map(of).unwrap_or_default()
    };
    Settings { policy: value("maxmemory_policy"), appended: value("aof_enabled") == "1", synced }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Fine,
    Warn(String),
    Refuse(String),
}

const ACCEPT: &str =
    "or say what is enough by `durability` in the URL or `RedisOptions::durability`";

fn judge(settings: &Settings, demanded: Durability) -> Verdict {
    // Policies for keys that expire touch nothing here: no key of the library does.
    if settings.policy.starts_with("allkeys-") {
        let policy = &settings.policy;
        return Verdict::Refuse(format!(
            "the server may evict jobs (`maxmemory-policy {policy}`): set it to `noeviction`, {ACCEPT}"
        ));
    }
    let lacks = |what: &str| format!("{what}, {ACCEPT}");
    let missing = if !settings.appended {
        Some(lacks(
            "a crash of the server loses what was answered since its last snapshot (`appendonly no`): set it to `yes`",
        ))
    } else if demanded == Durability::Seconds {
        None
    } else {
        match settings.synced.as_deref() {
            Some("always") => None,
            Some(other) => Some(lacks(&format!(
                "a crash of the server's machine may lose the last seconds of what was answered (`appendfsync {other}`): set it to `always`"
            ))),
            None => Some(lacks(
                "the server does not tell how it syncs its append-only file (`appendfsync`): let this user run `CONFIG GET`",
            )),
        }
    };
    match (missing, demanded) {
        (None, _) => Verdict::Fine,
        // A warning tells what there is; the way out of it is for who minds.
        (Some(why), Durability::AsConfigured) => Verdict::Warn(why),
        (Some(why), _) => Verdict::Refuse(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(policy: &str, appended: bool, synced: Option<&str>) -> Settings {
        let info = format!(
            "# Memory\r\nmaxmemory:100\r\nmaxmemory_human:100B\r\nmaxmemory_policy:{policy}\r\n# Persistence\r\naof_enabled:{}\r\n",
            u8::from(appended)
        );
        let read = read(&info, synced.map(str::to_owned));
        assert_eq!((read.policy.as_str(), read.appended), (policy, appended));
        read
    }

    /// F46: a policy that evicts any key is refused, whatever else there is.
    #[test]
    fn f46_an_evicting_policy_is_refused() {
        for demanded in [Durability::AsConfigured, Durability::Seconds, Durability::Always] {
            let evicting = settings("allkeys-lru", true, Some("always"));
            let Verdict::Refuse(why) = judge(&evicting, demanded) else { panic!("{demanded:?}") };
            assert!(why.contains("`maxmemory-policy allkeys-lru`"), "{why}");
            for harmless in ["noeviction", "volatile-lru", "volatile-ttl"] {
                let fine = settings(harmless, true, Some("always"));
                assert_eq!(judge(&fine, demanded), Verdict::Fine);
            }
        }
    }

    #[test]
    fn less_than_demanded_is_refused_and_less_than_could_be_is_told() {
        let always = settings("noeviction", true, Some("always"));
        let everysec = settings("noeviction", true, Some("everysec"));
        let none = settings("noeviction", false, Some("everysec"));
        let untold = settings("noeviction", true, None);
        let said = |verdict: Verdict, setting: &str| match verdict {
            Verdict::Warn(why) | Verdict::Refuse(why) => assert!(why.contains(setting), "{why}"),
            Verdict::Fine => panic!("{setting} is not told"),
        };
        for demanded in [Durability::AsConfigured, Durability::Seconds, Durability::Always] {
            assert_eq!(judge(&always, demanded), Verdict::Fine);
            said(judge(&none, demanded), "`appendonly no`");
        }
        assert_eq!(judge(&everysec, Durability::Seconds), Verdict::Fine);
        assert!(matches!(judge(&everysec, Durability::Always), Verdict::Refuse(_)));
        said(judge(&everysec, Durability::AsConfigured), "`appendfsync everysec`");
        said(judge(&untold, Durability::Always), "`CONFIG GET`");
        assert!(matches!(judge(&none, Durability::AsConfigured), Verdict::Warn(_)));
        assert!(matches!(judge(&none, Durability::Seconds), Verdict::Refuse(_)));
    }
}
