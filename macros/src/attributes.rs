//! What stands in `#[job(…)]`.

use std::time::Duration;

use syn::meta::ParseNestedMeta;
use syn::{Attribute, Error, LitStr, Path, Result, Type};

use crate::backoff::Backoff;
use crate::unique::Unique;
use crate::value;

const KNOWN: [&str; 9] = [
    "kind",
    "queue",
    "priority",
    "max_attempts",
    "timeout",
    "backoff",
    "output",
    "unique",
    "crate",
];

/// The attributes of one type; what is not there is left to the trait's defaults.
#[derive(Default)]
pub(crate) struct Attributes {
    pub(crate) kind: Option<LitStr>,
    pub(crate) queue: Option<LitStr>,
    pub(crate) priority: Option<i16>,
    pub(crate) max_attempts: Option<u32>,
    /// `Some(None)` for no deadline.
    pub(crate) timeout: Option<Option<Duration>>,
    pub(crate) backoff: Option<Backoff>,
    pub(crate) output: Option<Type>,
    pub(crate) unique: Option<Unique>,
    pub(crate) krate: Option<Path>,
}

impl Attributes {
    pub(crate) fn parse(attributes: &[Attribute]) -> Result<Self> {
        let mut all = Self::default();
        for attribute in attributes.iter().filter(|a| a.path().is_ident("job")) {
            attribute.parse_nested_meta(|meta| all.take(&meta))?;
        }
        Ok(all)
    }

    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let Some(key) = meta.path.get_ident().map(ToString::to_string) else {
            return Err(value::unknown(meta, &KNOWN));
        };
        match key.as_str() {
            "kind" => value::set(&mut self.kind, meta, name(meta, "kind", "kind = \"thumbnail\"")?),
            "queue" => {
                value::set(&mut self.queue, meta, name(meta, "queue name", "queue = \"media\"")?)
            }
            "priority" => {
                let expected =
                    "expected a whole number from -32768 to 32767, lower first: `priority = -10`";
                value::set(&mut self.priority, meta, value::number(meta, expected)?)
            }
            "max_attempts" => {
                let attempts = attempts(meta)?;
                value::set(&mut self.max_attempts, meta, attempts)
            }
            "timeout" => {
                let text = value::text(meta, "timeout = \"30s\"")?;
                let timeout = match text.value().as_str() {
                    "none" => None,
                    _ => Some(value::duration(&text).map_err(|e| {
                        Error::new(text.span(), format!("{e}; \"none\" stands for no deadline"))
                    })?),
                };
                value::set(&mut self.timeout, meta, timeout)
            }
            "backoff" => value::set(&mut self.backoff, meta, Backoff::parse(meta)?),
            "output" => {
                let value =
                    meta.value().map_err(|_| meta.error("expected a type: `output = Type`"))?;
                value::set(&mut self.output, meta, value.parse()?)
            }
            "unique" => value::set(&mut self.unique, meta, Unique::parse(meta)?),
            "crate" => {
                let path = value::text(meta, "crate = \"windlass\"")?.parse()?;
                value::set(&mut self.krate, meta, path)
            }
            _ => Err(value::unknown(meta, &KNOWN)),
        }
    }
}

fn name(meta: &ParseNestedMeta<'_>, what: &str, example: &str) -> Result<LitStr> {
    let text = value::text(meta, example)?;
    value::name(what, &text.value(), text.span())?;
    Ok(text)
}

fn attempts(meta: &ParseNestedMeta<'_>) -> Result<u32> {
    let expected = "expected a whole number from 1: `max_attempts = 5`";
    match value::number(meta, expected)? {
        0 => Err(meta.error(expected)),
        attempts => Ok(attempts),
    }
}
