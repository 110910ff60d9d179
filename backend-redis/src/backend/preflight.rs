//! What the server's settings make of an answer: read at opening, and compared with what the host demands.

use redis::{RedisError, Value};
use windlass_core::Result;

use super::Inner;
use crate::link::Line;
use crate::options::{Durability, config};
use crate::wire;

/// The settings that decide.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Empty when the server doesn't tell.
    policy: String,
    appended: bool,
    /// `None` when the server doesn't tell.
    sync: Option<Sync>,
}

/// When the server asks its disk to have written the append-only file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sync {
    /// `always`, `everysec` or `no`.
    when: String,
    /// Not while a child process rewrites that file or writes a snapshot, whatever `when` says.
    pauses: bool,
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
    sync.arg("GET").arg("appendfsync").arg("no-appendfsync-on-rewrite");
    // Not every user may ask, and not every server answers.
    let answer = inner.main.send(&sync).await.ok();
    let options = &inner.options;
    let about = format!("the namespace `{}` on {}", options.namespace, options.places());
    match judge(&read(&told, answer.and_then(sync_of)), durability) {
        Verdict::Fine => Ok(()),
        Verdict::Warn(why) => {
            tracing::warn!("{about}: {why}");
            Ok(())
        }
        Verdict::Refuse(why) => Err(config(format!("{about}: {why}"))),
    }
}

/// Reads the names and values that a server answers.
pub(crate) fn sync_of(answer: Value) -> Option<Sync> {
    let Value::Array(words) = answer else { return None };
    let words: Vec<String> = words.into_iter().map(wire::text).collect::<Result<_>>().ok()?;
    let value =
        |name: &str| words.chunks_exact(2).find(|pair| pair[0] == name).map(|pair| &pair[1]);
    let pauses = value("no-appendfsync-on-rewrite")? != "no";
    Some(Sync { when: value("appendfsync")?.clone(), pauses })
}

pub(crate) fn read(told: &str, sync: Option<Sync>) -> Settings {
    let value = |name: &str| {
        let of = |line: &str| Some(line.trim().strip_prefix(name)?.strip_prefix(':')?.to_owned());
        told.lines().find_map(of).unwrap_or_default()
    };
    Settings { policy: value("maxmemory_policy"), appended: value("aof_enabled") == "1", sync }
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
    // A warning tells what there is; the way out of it is for who minds.
    if let Some(what) = lacking(settings, demanded) {
        let why = format!("{what}, {ACCEPT}");
        return if demanded == Durability::AsConfigured {
            Verdict::Warn(why)
        } else {
            Verdict::Refuse(why)
        };
    }
    if settings.policy.is_empty() {
        let why = format!(
            "the server does not tell whether it may evict jobs (`maxmemory-policy`): make sure that it is `noeviction`, {ACCEPT}"
        );
        return if demanded == Durability::Always {
            Verdict::Refuse(why)
        } else {
            Verdict::Warn(why)
        };
    }
    Verdict::Fine
}

/// What the settings lack, with the way out.
fn lacking(settings: &Settings, demanded: Durability) -> Option<String> {
    if !settings.appended {
        return Some(
            "a crash of the server loses what was answered since its last snapshot (`appendonly no`): set it to `yes`".into(),
        );
    }
    let enough =
        |when: &str| when == "always" || (when == "everysec" && demanded == Durability::Seconds);
    match &settings.sync {
        Some(Sync { when, .. }) if !enough(when) => Some(format!(
            "a crash of the server's machine may lose the last seconds of what was answered (`appendfsync {when}`): set it to `always`"
        )),
        Some(Sync { pauses: true, .. }) => Some(
            "a crash of the server's machine may lose what was answered while the server rewrites its append-only file (`no-appendfsync-on-rewrite yes`): set it to `no`".into(),
        ),
        None if demanded != Durability::Seconds => Some(
            "the server does not tell how it syncs its append-only file (`appendfsync`, `no-appendfsync-on-rewrite`): let this user run `CONFIG GET`".into(),
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sync(when: &str, pauses: &str) -> Option<Sync> {
        let words = ["appendfsync", when, "no-appendfsync-on-rewrite", pauses];
        let word = |word: &str| Value::BulkString(word.into());
        sync_of(Value::Array(words.map(word).into()))
    }

    fn settings(policy: &str, appended: bool, synced: Option<&str>) -> Settings {
        let info = format!(
            "# Memory\r\nmaxmemory:100\r\nmaxmemory_human:100B\r\nmaxmemory_policy:{policy}\r\n# Persistence\r\naof_enabled:{}\r\n",
            u8::from(appended)
        );
        let read = read(&info, synced.and_then(|when| sync(when, "no")));
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
    /// Some servers sync nothing while they rewrite their file, whatever else they say.
    #[test]
    fn a_sync_that_pauses_is_not_always() {
        let mut pausing = settings("noeviction", true, None);
        for (when, demanded) in [("always", Durability::Always), ("everysec", Durability::Seconds)]
        {
            pausing.sync = sync(when, "yes");
            let Verdict::Refuse(why) = judge(&pausing, demanded) else { panic!("{demanded:?}") };
            assert!(why.contains("`no-appendfsync-on-rewrite yes`"), "{why}");
        }
        pausing.sync = sync("always", "yes");
        assert!(matches!(judge(&pausing, Durability::AsConfigured), Verdict::Warn(_)));
        assert_eq!(sync_of(Value::Array(Vec::new())), None, "a server that tells nothing");
    }

    #[test]
    fn a_file_that_is_never_synced_is_refused_by_seconds() {
        let never = settings("noeviction", true, Some("no"));
        let Verdict::Refuse(why) = judge(&never, Durability::Seconds) else { panic!("{never:?}") };
        assert!(why.contains("`appendfsync no`"), "{why}");
    }

    /// F46: a policy that isn't told may be one that evicts.
    #[test]
    fn f46_a_policy_that_is_not_told_is_not_taken_for_a_harmless_one() {
        let untold = settings("", true, Some("always"));
        let Verdict::Refuse(why) = judge(&untold, Durability::Always) else { panic!("{untold:?}") };
        assert!(why.contains("`maxmemory-policy`"), "{why}");
        for demanded in [Durability::AsConfigured, Durability::Seconds] {
            let Verdict::Warn(why) = judge(&untold, demanded) else { panic!("{demanded:?}") };
            assert!(why.contains("`maxmemory-policy`"), "{why}");
        }
        let never = settings("", true, Some("no"));
        assert!(matches!(judge(&never, Durability::Seconds), Verdict::Refuse(_)));
    }
}
