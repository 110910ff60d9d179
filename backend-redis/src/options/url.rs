//! Reads a URL. No error shows the URL or a value from it, since a password may stand anywhere in a URL that was put together wrongly.

use redis::IntoConnectionInfo;
use windlass_core::Result;

use super::{Durability, RedisOptions, config};

const OURS: &str = "`namespace`, `durability` and `listen=off`";

pub(super) fn read(text: &str) -> Result<RedisOptions> {
    if text.starts_with("rediss://") && !cfg!(feature = "tls") {
        return Err(config(
            "encryption is asked for (`rediss://`) and this build can't do it: turn on the cargo feature `tls` of windlass-redis",
        ));
    }
    if !text.starts_with("redis://") && !text.starts_with("rediss://") {
        return Err(config(
            "the URL must start with `redis://` or `rediss://`, as in `redis://user:password@host:6379/0`",
        ));
    }
    let mut url = url::Url::parse(text).map_err(|_| {
        config("the URL can't be read: `%`-encode what belongs to a user name or a password")
    })?;
    if url.fragment().is_some() {
        return Err(config(
            "the URL has a `#`: write `%23` where it belongs to a user name or a password",
        ));
    }
    let pairs: Vec<(String, String)> =
        url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    url.set_query(None);
    // The driver's own error quotes what it can't read.
    let connect = url.into_connection_info().map_err(|_| {
        config("the URL can't be used: expected a host, maybe a port, and a number as the database, as in `redis://host:6379/0`")
    })?;
    let mut options = RedisOptions::new(connect);
    for (name, value) in pairs {
        options = apply(options, &name, &value)?;
    }
    Ok(options)
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
        // The name itself may be half of a password.
        _ => Err(config(format!("the URL has a parameter that is unknown; known are {OURS}"))),
    }
}
