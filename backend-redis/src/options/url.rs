//! Reads a URL. No error shows the URL or a value from it, since a password may stand anywhere in a URL that was put together wrongly.

use std::num::NonZeroU16;
use std::time::Duration;

use redis::{ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};
use windlass_core::{Error, Result};

use super::{Durability, RedisOptions, config};

const OURS: &str = "`namespace`, `durability`, `listen`, `ca`, `cert`, `key`, `connect_timeout`, `response_timeout`, `wait_replicas`, `wait_timeout`, `wait_on_disk`, `sentinel_username` and `sentinel_password`";
/// Where Sentinels listen unless told otherwise.
const SENTINEL_PORT: u16 = 26_379;

pub(super) fn read(text: &str) -> Result<RedisOptions> {
    let (scheme, rest) = text.split_once("://").ok_or_else(no_scheme)?;
    let (kind, tls) = match scheme.split_once('+').unwrap_or((scheme, "")) {
        ("redis", kind) => (kind, ""),
        ("rediss", kind) if kind != "unix" => (kind, "s"),
        _ => return Err(no_scheme()),
    };
    #[cfg(not(feature = "tls"))]
    if tls == "s" {
        return Err(super::tls::no_tls());
    }
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    if text.contains('#') {
        return Err(config(
            "the URL has a `#`: write `%23` where it belongs to a user name or a password",
        ));
    }
    let mut pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    let mut options = match kind {
        "" => RedisOptions::new(one(&format!("redis{tls}://{place}"))?),
        "unix" => RedisOptions::new(socket(place, &mut pairs)?),
        "sentinel" => sentinel(place, tls, &mut pairs)?,
        "cluster" => cluster(place, tls)?,
        _ => return Err(no_scheme()),
    };
    options = match (take(&mut pairs, "cert"), take(&mut pairs, "key")) {
        (Some(cert), Some(key)) => {
            options.client_certificate(file("cert", &cert)?, file("key", &key)?)?
        }
        (None, None) => options,
        _ => return Err(config("`cert` and `key` in the URL belong together")),
    };
    for (name, value) in pairs {
        options = apply(options, &name, &value)?;
    }
    options.check_wait()?;
    Ok(options)
}

fn no_scheme() -> Error {
    config(
        "the URL must start with `redis://`, `rediss://`, `redis+sentinel://`, `redis+cluster://` or `redis+unix://`, as in `redis://user:password@host:6379/0`",
    )
}

fn unusable() -> Error {
    config(
        "the URL can't be used: expected a host, maybe a port, and a number as the database, as in `redis://host:6379/0`; `%`-encode what belongs to a user name or a password",
    )
}

/// The driver's own error quotes what it can't read.
fn one(url: &str) -> Result<ConnectionInfo> {
    let url = url::Url::parse(url).map_err(|_| unusable())?;
    url.into_connection_info().map_err(|_| unusable())
}

fn socket(path: &str, pairs: &mut Vec<(String, String)>) -> Result<ConnectionInfo> {
    let mut url = url::Url::parse(&format!("unix://{path}")).map_err(|_| unusable())?;
    for name in ["db", "user", "pass"] {
        if let Some(value) = take(pairs, name) {
            url.query_pairs_mut().append_pair(name, &value);
        }
    }
    url.into_connection_info().map_err(|_| {
        config(
            "the URL of a socket can't be used: expected `redis+unix:///path`, with the parameters `user`, `pass` and `db`",
        )
    })
}

fn take(pairs: &mut Vec<(String, String)>, name: &str) -> Option<String> {
    let at = pairs.iter().position(|(found, _)| found == name)?;
    Some(pairs.swap_remove(at).1)
}

/// Login, hosts and path of what stands before the `?`.
fn split(place: &str) -> (&str, Vec<&str>, &str) {
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    let (login, hosts) = match authority.rfind('@') {
        Some(at) => authority.split_at(at + 1),
        None => ("", authority),
    };
    (login, hosts.split(',').collect(), path)
}

fn sentinel(place: &str, tls: &str, pairs: &mut Vec<(String, String)>) -> Result<RedisOptions> {
    let (login, hosts, path) = split(place);
    let (service, db) = path.split_once('/').unwrap_or((path, ""));
    let servers = one(&format!("redis{tls}://{login}host/{db}"))?.redis_settings().clone();
    let mut own = RedisConnectionInfo::default();
    if let Some(name) = take(pairs, "sentinel_username") {
        own = own.set_username(name);
    }
    if let Some(password) = take(pairs, "sentinel_password") {
        own = own.set_password(password);
    }
    let mut sentinels = Vec::with_capacity(hosts.len());
    for host in hosts {
        let has_port = host.rsplit_once(']').map_or(host, |(_, after)| after).contains(':');
        let port = if has_port { String::new() } else { format!(":{SENTINEL_PORT}") };
        let info = one(&format!("redis{tls}://{host}{port}"))?;
        sentinels.push(info.set_redis_settings(own.clone()));
    }
    RedisOptions::sentinel(service, sentinels, servers)
}

fn cluster(place: &str, tls: &str) -> Result<RedisOptions> {
    let (login, hosts, path) = split(place);
    let seeds = hosts.into_iter().map(|host| one(&format!("redis{tls}://{login}{host}/{path}")));
    RedisOptions::cluster(seeds.collect::<Result<_>>()?)
}

fn apply(options: RedisOptions, name: &str, value: &str) -> Result<RedisOptions> {
    match (name, value) {
        ("namespace", name) => options.namespace(name),
        ("durability", "always") => Ok(options.durability(Durability::Always)),
        ("durability", "seconds") => Ok(options.durability(Durability::Seconds)),
        ("durability", "as-configured") => Ok(options.durability(Durability::AsConfigured)),
        ("durability", "none") => Ok(options.durability(Durability::None)),
        ("durability", _) => Err(config(
            "`durability` in the URL must be `always`, `seconds`, `as-configured` or `none`",
        )),
        ("listen", "on") => Ok(options.listen(true)),
        ("listen", "off") => Ok(options.listen(false)),
        ("listen", _) => Err(config("`listen` in the URL must be `on` or `off`")),
        ("ca", path) => options.ca_certificate(file("ca", path)?),
        ("wait_replicas", n) => {
            let n = n.parse().map_err(|_| config("`wait_replicas` in the URL must be a number"))?;
            Ok(options.wait_replicas(n))
        }
        ("connect_timeout", text) => Ok(options.connect_timeout(time("connect_timeout", text)?)),
        ("response_timeout", text) => Ok(options.response_timeout(time("response_timeout", text)?)),
        ("wait_timeout", text) => Ok(options.wait_timeout(time("wait_timeout", text)?)),
        ("wait_on_disk", "on") => Ok(options.wait_on_disk(true)),
        ("wait_on_disk", "off") => Ok(options.wait_on_disk(false)),
        ("wait_on_disk", _) => Err(config("`wait_on_disk` in the URL must be `on` or `off`")),
        // The name itself may be half of a password.
        _ => Err(config(format!("the URL has a parameter that is unknown; known are {OURS}"))),
    }
}

fn file(name: &str, path: &str) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        config(format!("the file that `{name}` in the URL names can't be read: {}", error.kind()))
    })
}

/// `500ms` or `2s`.
fn time(name: &str, text: &str) -> Result<Duration> {
    let (digits, unit) = match text.strip_suffix("ms") {
        Some(digits) => (digits, Duration::from_millis(1)),
        None => (text.strip_suffix('s').unwrap_or_default(), Duration::from_secs(1)),
    };
    let n: Option<NonZeroU16> = digits.parse().ok();
    n.map(|n| unit * u32::from(n.get())).ok_or_else(|| {
        config(format!(
            "`{name}` in the URL must be a time like `500ms` or `2s`, 1 to 65535 of either"
        ))
    })
}
