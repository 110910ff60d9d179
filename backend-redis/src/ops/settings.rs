//! Settings of queues.

use windlass_core::kit::unreadable;
use windlass_core::{QueueChange, QueueName, QueueSettings, Result};

use crate::backend::Inner;
use crate::script::Args;
use crate::wire;

pub(crate) fn settings(name: QueueName, stored: &[u8]) -> Result<QueueSettings> {
    let odd = || unreadable("the settings of a queue", "they have another shape");
    let read = rmp_serde::from_slice::<(&str, &str, &str)>(stored);
    let (paused, concurrency, depth) = read.map_err(|_| odd())?;
    let mut settings = QueueSettings::new(name);
    settings.paused = paused == "1";
    settings.concurrency = number(concurrency).map_err(|_| odd())?;
    settings.max_depth = number(depth).map_err(|_| odd())?;
    Ok(settings)
}

/// A number; an empty text is none.
fn number<T: std::str::FromStr>(text: &str) -> Result<Option<T>, T::Err> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
}

pub(crate) async fn read(inner: &Inner, names: &[QueueName]) -> Result<Vec<QueueSettings>> {
    let key = inner.key(":queues", b"");
    if names.is_empty() {
        let mut command = redis::cmd("HGETALL");
        command.arg(key);
        let mut fields = wire::list(inner.command("queue_settings", command).await?)?.into_iter();
        let mut all = Vec::new();
        while let (Some(name), Some(stored)) = (fields.next(), fields.next()) {
            all.push(settings(QueueName::new(wire::text(name)?)?, &wire::bytes(stored)?)?);
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        return Ok(all);
    }
    let mut command = redis::cmd("HMGET");
    command.arg(key);
    for name in names {
        command.arg(name.as_str());
    }
    let found = wire::list(inner.command("queue_settings", command).await?)?;
    let read = |(name, stored): (&QueueName, redis::Value)| match wire::maybe_bytes(stored)? {
        Some(stored) => settings(name.clone(), &stored),
        None => Ok(QueueSettings::new(name.clone())),
    };
    names.iter().zip(found).map(read).collect()
}

pub(crate) async fn configure(
    inner: &Inner,
    name: &QueueName,
    change: &QueueChange,
) -> Result<QueueSettings> {
    change.check()?;
    let paused = change.paused.map_or("", |paused| if paused { "1" } else { "0" });
    let args = Args::new().bytes(name.as_str()).bytes(paused);
    let args = args.bytes(changed(change.concurrency)).bytes(changed(change.max_depth));
    let stored = inner.call("configure_queue", &inner.scripts.configure_queue, args).await?;
    settings(name.clone(), &wire::bytes(stored)?)
}

/// An empty text leaves a setting as it is, a dash removes it.
fn changed(number: Option<Option<impl ToString>>) -> String {
    match number {
        None => String::new(),
        Some(None) => "-".to_owned(),
        Some(Some(n)) => n.to_string(),
    }
}
