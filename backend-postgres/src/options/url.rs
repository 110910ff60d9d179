//! Reads a URL. No error shows the URL or a value from it, since a password may stand anywhere in a URL that was put together wrongly.

use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use windlass_core::Result;

use super::{PostgresOptions, check_tls, config, is_local};

/// Parameters that the driver reads.
const DRIVERS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];
const OURS: &str = "`schema`, `connections`, `pooler=transaction`, `migrate=false`, `listen=off`";

pub(super) fn read(url: &str) -> Result<PostgresOptions> {
    let (connect, ours) = parse(url)?;
    let mut options = PostgresOptions::new(connect);
    for (key, value) in ours {
        options = apply(options, &key, &value)?;
    }
    Ok(options)
}

/// Reads a URL that says how to connect and nothing else.
pub(super) fn read_direct(url: &str) -> Result<PgConnectOptions> {
    let (connect, ours) = parse(url)?;
    match ours.first() {
        None => Ok(connect),
        Some((key, _)) => Err(config(format!(
            "the parameter `{key}` has no meaning in the direct URL, which only says how to connect: leave it out there"
        ))),
    }
}

/// How to connect, and the parameters of the library's own.
fn parse(url: &str) -> Result<(PgConnectOptions, Vec<(String, String)>)> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(config(
            "the URL must start with `postgres://` or `postgresql://`, as in `postgres://user@host/database`",
        ));
    }
    let (base, text) = url.split_once('?').unwrap_or((url, ""));
    if url.contains('#') {
        return Err(config(
            "the URL has a `#`: write `%23` where it belongs to a user name, password or value",
        ));
    }
    let pairs: Vec<(&str, &str)> = text
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    let (mut ours, mut drivers, mut encrypted) = (Vec::new(), Vec::new(), false);
    for (name, value) in pairs {
        let key = unescape(name);
        match key.as_str() {
            "schema" | "connections" | "pooler" | "migrate" | "listen" => {
                ours.push((key, unescape(value)))
            }
            known
                if DRIVERS.contains(&known)
                    || known.starts_with("options[") && known.ends_with(']') =>
            {
                encrypted |= matches!(known, "sslmode" | "ssl-mode");
                drivers.push((key, format!("{name}={value}")));
            }
            _ => return Err(unknown(&key, text)),
        }
    }
    let mut connect = connect(base, &drivers)?;
    if !encrypted && std::env::var_os("PGSSLMODE").is_none() {
        connect = default_encryption(connect);
    }
    check_tls(&connect)?;
    Ok((connect, ours))
}

/// Encryption that can be had is used, and over a network it must be real.
pub(super) fn default_encryption(connect: PgConnectOptions) -> PgConnectOptions {
    if cfg!(feature = "tls") && !is_local(&connect) {
        return connect.ssl_mode(PgSslMode::VerifyFull);
    }
    connect
}

fn connect(base: &str, drivers: &[(String, String)]) -> Result<PgConnectOptions> {
    let texts: Vec<&str> = drivers.iter().map(|(_, text)| text.as_str()).collect();
    if let Ok(connect) = PgConnectOptions::from_str(&format!("{base}?{}", texts.join("&"))) {
        return Ok(connect);
    }
    // Which part is wrong?
    if PgConnectOptions::from_str(base).is_err() {
        return Err(config(
            "the URL can't be read: write it as `postgres://user:password@host:port/database`, and characters of user name and password \
             other than letters and digits as `%` and two hexadecimal digits",
        ));
    }
    let wrong = drivers
        .iter()
        .find(|(_, text)| PgConnectOptions::from_str(&format!("{base}?{text}")).is_err());
    let name = wrong.map_or("?", |(name, _)| name);
    Err(config(format!("the parameter `{name}` in the URL has a value that can't be used")))
}

fn apply(options: PostgresOptions, key: &str, value: &str) -> Result<PostgresOptions> {
    let refused =
        |may: &str| Err(config(format!("the parameter `{key}` in the URL must be {may}")));
    Ok(match (key, value) {
        ("schema", name) => options.schema(name)?,
        ("connections", number) => match number.parse() {
            Ok(number @ 2..=10_000) => options.connections(number),
            _ => return refused("a number from 2 to 10000"),
        },
        ("pooler", "transaction") => options.pooled(true),
        ("pooler", _) => {
            return refused(
                "`transaction`, or be left out for a direct connection or a pooler in session mode",
            );
        }
        ("migrate", "true") => options.migrate(true),
        ("migrate", "false") => options.migrate(false),
        ("migrate", _) => return refused("`true` or `false`"),
        ("listen", "on") => options.listen(true),
        ("listen", "off") => options.listen(false),
        _ => return refused("`on` or `off`"),
    })
}

/// The name of an unknown parameter is told unless it may be a piece of a password with a `?` or `&` in it.
fn unknown(name: &str, text: &str) -> windlass_core::Error {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if text.contains('@') || name.len() > 40 || !name.chars().all(plain) {
        return config(
            "the URL has a parameter that is not known: write `?`, `&` and `@` in user name and password as `%3F`, `%26` and `%40`",
        );
    }
    config(format!(
        "unknown parameter `{name}` in the URL: known are {OURS} and those of the driver ({})",
        DRIVERS.join(", ")
    ))
}

/// Decodes `%20` and the like, and `+`; what is no such thing stays.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digit = |c: &u8| char::from(*c).to_digit(16).and_then(|d| u8::try_from(d).ok());
        let (byte, tail) = match (first, tail) {
            (b'%', [high, low, after @ ..]) => match digit(high).zip(digit(low)) {
                Some((high, low)) => (high << 4 | low, after),
                None => (b'%', tail),
            },
            (b'+', _) => (b' ', tail),
            (byte, _) => (*byte, tail),
        };
        bytes.push(byte);
        rest = tail;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
